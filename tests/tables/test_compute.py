"""Which tables there are and of which models they tell; and that nothing depends on how much is read at a time."""

import pandas as pd
import pytest
from conftest import small_sweep
from support.made_up_runs import compared_sweep, distilled_sweep, made_up_run

from dbviz_ray.analysis.scores import agreement as same_labels
from dbviz_ray.analysis.scores import plane_scores
from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.scores.groups import groups_of, names_of, options_text
from dbviz_ray.analysis.tables import compute_tables, read_table, tables_of, write_tables
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.store import Store


def test_snapshots_are_scored_within_their_group(tmp_path):
    sweep = compared_sweep()
    store = made_up_run(tmp_path, sweep, error=lambda model, epoch: 0.9 if epoch == 1 else 0.0)
    tables = compute_tables(store, sweep)
    assert tables["groups"]["epoch"].tolist() == [1, 3] * 4
    assert (tables["groups"].query("epoch == 3")["reproducibility"] == 1).all()
    assert (tables["groups"].query("epoch == 1")["reproducibility"] < 0.5).all()
    assert len(tables["models"]) == 12 * 2
    pairs = tables["pairs"]
    assert (pairs["epoch_a"] == pairs["epoch_b"]).all()
    assert len(pairs.query("epoch_a == 3")) == 12 * 11 / 2
    assert len(pairs.query("epoch_a == 1")) == 4 * 3
    assert pairs.query("epoch_a == 1")["same_group"].all()


def test_diverged_models_are_left_out(tmp_path):
    sweep = compared_sweep()

    def diverged(model):
        return model.recipe == "SGD" and (model.architecture == "vit" or model.seeds.init == 0)

    tables = compute_tables(made_up_run(tmp_path, sweep, diverged), sweep)
    last = tables["groups"].query("epoch == 3").set_index(["architecture", "recipe"])
    assert last[["n_models", "n_diverged"]].to_numpy().tolist() == [[3, 0], [2, 1], [3, 0], [0, 3]]
    lost = last.loc[("vit", "SGD")]
    assert lost[list(SCORES)].isna().all()
    assert (lost["n_planes"], lost["reproducibility_interval_covers"]) == (0, "nothing")
    assert last.loc[("fully_connected", "SGD")]["reproducibility_interval_covers"] == "planes"
    assert len(tables["models"]) == 8 * 2


def test_scores_that_are_not_asked_for_are_not_computed(tmp_path):
    sweep = compared_sweep(scores=["fragmentation"])
    tables = compute_tables(made_up_run(tmp_path, sweep), sweep)
    assert tables["groups"]["reproducibility"].isna().all()
    assert tables["pairs"]["reproducibility"].isna().all()
    assert tables["between_groups"].empty
    assert tables["by_recipe"]["reproducibility"].isna().all()
    assert tables["by_recipe"]["accuracy"].notna().all()


def test_held_out_images_are_called_so(tmp_path):
    sweep = small_sweep(dataset={"name": "digits", "train_size": 200, "held_out": 50})
    tables = compute_tables(made_up_run(tmp_path, sweep), sweep)
    assert set(tables["groups"]["tested_on"]) == set(tables["models"]["tested_on"]) == {"held-out"}


def test_tables_of_sweeps():
    always = ("outcomes", "models", "pairs", "groups", "between_groups", "differences", "peaks", "resolution",
              "uncertainty", "images")  # fmt: skip
    assert tables_of(small_sweep()) == always
    assert tables_of(load_sweep("double_descent_digits")) == (*always, "margins")
    assert tables_of(load_sweep("streams_digits")) == (*always, "streams")
    assert tables_of(compared_sweep()) == (*always, "by_recipe")
    assert tables_of(distilled_sweep({})) == (*always, "distillation", "by_recipe")


def test_names_say_what_tells_groups_apart():
    assert options_text({"patch_size": 2, "layers": 1}) == "layers=1 patch_size=2"
    sweep = small_sweep(cases=[{"architecture": ["vgg19"], "width": [4]}, {"architecture": ["fully_connected"],
                               "width": [2, 4]}], grid={"seed": [0, 1]})  # fmt: skip
    assert names_of(groups_of(sweep)) == ["VGG-19", *(f"fully connected network, width {of}" for of in (2, 4))]


@pytest.mark.parametrize("size", [1, 2500])
def test_what_is_read_at_a_time_does_not_matter(made_up, monkeypatch, size):
    """Planes one by one, or four and two (two and one, and so on, of the probabilities)."""
    store, sweep, tables = made_up
    monkeypatch.setattr(plane_scores, "CHUNK_BYTES", 12 * 144 * 4 if size > 1 else 1)
    monkeypatch.setattr(same_labels, "BLOCK_BYTES", size)
    again = compute_tables(store, sweep)
    assert list(again) == list(tables)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(again[name], table, check_exact=False, rtol=1e-9, atol=1e-12)


def test_tables_come_back_as_they_were_written(made_up, tmp_path):
    store, tables = Store(tmp_path), made_up[2]
    write_tables(store, tables)
    for name in ("pairs", "groups", "differences", "margins"):
        pd.testing.assert_frame_equal(read_table(store, name), tables[name])
