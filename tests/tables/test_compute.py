"""Which tables there are, of which models they tell, `outcomes` and `by_recipe`; memory that label maps do not fill."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.group_tables import rates, recipes, tables_with
from support.made_up_runs import REASON, compared_sweep, distilled_sweep, let_fail, made_up_run
from support.table_rows import NAN, of_difference

from dbviz_ray.analysis.scores import plane_scores
from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.scores.groups import KIND, groups_of, names_of, options_text
from dbviz_ray.analysis.tables import NoModelsError, compute_tables, read_table, tables_of, write_tables
from dbviz_ray.analysis.tables.outcomes import OUTCOMES
from dbviz_ray.analysis.tables.recipes import at_best_rate, best_rates
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.store import Store
from dbviz_ray.store.models import Failure, Outcome


def test_snapshots_are_scored_within_their_group(tmp_path):
    sweep = compared_sweep()
    tables = compute_tables(made_up_run(tmp_path, sweep, error=lambda _, epoch: 0.9 if epoch == 1 else 0.0), sweep)
    assert tables["groups"]["epoch"].tolist() == [1, 3] * 4
    assert (tables["groups"].query("epoch == 3")["reproducibility"] == 1).all()
    assert (tables["groups"].query("epoch == 1")["reproducibility"] < 0.5).all()
    assert len(tables["models"]) == 12 * 2
    pairs = tables["pairs"]
    assert (pairs["epoch_a"] == pairs["epoch_b"]).all()
    assert len(pairs.query("epoch_a == 3")) == 12 * 11 / 2
    assert len(pairs.query("epoch_a == 1")) == 4 * 3
    assert pairs.query("epoch_a == 1")["same_group"].all()


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


def test_tables_come_back_as_they_were_written(made_up, tmp_path):
    store, tables = Store(tmp_path), made_up[2]
    write_tables(store, tables)
    for name in ("pairs", "groups", "differences", "margins"):
        pd.testing.assert_frame_equal(read_table(store, name), tables[name])


SETS = {"test": {"count": 3, "resolution": 6}, "train": {"count": 2, "resolution": 6, "images": "train"}}


def lost_in(model):
    """All ViTs with SGD and the first with Adam; one fully connected network with SGD."""
    if model.architecture == "vit":
        return "train" if model.recipe == "SGD" else "evaluate" * (model.seeds.init == 0)
    return "evaluate" * ((model.recipe, model.seeds.init) == ("SGD", 2))


def test_each_model_and_each_group_tells_how_it_ended(tmp_path):
    sweep = compared_sweep(planes=SETS)
    store = made_up_run(tmp_path, sweep, lambda m: m.seeds.init == 1 and (m.architecture, m.recipe) != ("vit", "Adam"))
    let_fail(store, sweep, lost_in)
    tables = compute_tables(store, sweep)
    table = tables["outcomes"]
    assert table.columns.tolist() == OUTCOMES
    assert table["model_id"].tolist() == [model.model_id for model in sweep.models()]
    ends = {"": "done", "train": "bad configuration", "evaluate": "failed"}
    for model, row in zip(sweep.models(), table.to_dict(orient="records"), strict=True):
        named, told = (row["architecture"], row["recipe"], row["order_seed"]), (row["outcome"], row["stage"])
        assert named == (model.architecture, model.recipe, model.seeds.order)
        if model.architecture == "fully_connected" and model.seeds.init == 1:
            assert told == ("diverged", "train")
            assert "epoch 2" in row["reason"]
        else:
            assert (*told, row["reason"]) == (ends[lost_in(model)], lost_in(model), REASON * bool(lost_in(model)))
    groups = tables["groups"]
    assert len(groups) == 4 * 2 * 2  # kinds, kept epochs, plane sets
    columns = ["architecture", "recipe", "n_models", "n_diverged", "n_failed"]
    counts = [["fully_connected", "Adam", 2, 1, 0], ["fully_connected", "SGD", 1, 1, 1], ["vit", "Adam", 2, 0, 1],
              ["vit", "SGD", 0, 0, 3]]  # fmt: skip
    for counted in (groups, tables["by_recipe"]):
        assert counted[columns].drop_duplicates().sort_values(columns).to_numpy().tolist() == counts
    last = groups[(groups["epoch"] == 3) & (groups["plane_set"] == "test")].set_index(["architecture", "recipe"])
    covers = {"Adam": ["planes", "planes"], "SGD": ["nothing", "nothing"]}
    assert last.groupby("recipe")["reproducibility_interval_covers"].agg(list).to_dict() == covers
    one, lost = last.loc[("fully_connected", "SGD")], last.loc[("vit", "SGD")]
    assert (np.isnan(one["reproducibility"]), one["fragmentation"] >= 1) == (True, True), "one model makes no pair"
    assert (lost[list(SCORES)].isna().all(), lost["n_planes"]) == (True, 0)
    assert len(tables["models"]) == 5 * 2 * 2
    write_tables(store, tables)
    # With empty cells, whole numbers are read as floats.
    pd.testing.assert_frame_equal(read_table(store, "outcomes"), table.astype({"train_set_seed": float}))
    kinds = (set(of[KIND].itertuples(index=False, name=None)) for of in (groups, table))
    assert next(kinds) == next(kinds)


@pytest.mark.parametrize(
    ("diverged", "failed", "how"), [(12, 0, "diverged"), (0, 12, "failed"), (4, 8, "diverged or failed")]
)
def test_where_no_model_is_left_there_are_no_tables_but_this_one(tmp_path, sweep, diverged, failed, how):
    numbers = {model.model_id: number for number, model in enumerate(sweep.models())}
    store = made_up_run(tmp_path, sweep, lambda model: numbers[model.model_id] < diverged)
    let_fail(store, sweep, lambda model: "train" if numbers[model.model_id] >= 12 - failed else "")
    with pytest.raises(NoModelsError, match=f"12 models {how};") as caught:
        compute_tables(store, sweep)
    outcomes = caught.value.outcomes["outcome"]
    assert ((outcomes == "diverged").sum(), (outcomes == "bad configuration").sum()) == (diverged, failed)


def test_a_model_with_a_failure_is_left_out_whatever_is_stored_of_it(tmp_path):
    """One that diverged and then could not be evaluated counts once."""
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1, 2, 3]})
    store = made_up_run(tmp_path, sweep, lambda model: model.seeds.init == 0)
    for model, outcome in zip(sweep.models(), (Outcome.CRASHED, Outcome.OUT_OF_MEMORY), strict=False):
        store.write_failure(Failure(model.model_id, "evaluate", outcome, "its process died"))
    tables = compute_tables(store, sweep)
    assert tables["outcomes"]["outcome"].tolist() == ["crashed", "out of memory", "done", "done"]
    assert tables["groups"][["n_models", "n_diverged", "n_failed"]].iloc[0].tolist() == [2, 0, 2]
    assert tables["models"]["init_seed"].tolist() == [2, 3]


NO_PAIRS = tables_with(recipes())["differences"]


@pytest.mark.parametrize(("p", "alike"), [(0.049, [0.1]), (0.05, [0.001, 0.1]), (NAN, [0.001, 0.1])])
def test_the_best_learning_rate_and_those_that_chance_may_explain(p, alike):
    row = of_difference("test_error", 0.3, width=(8, 8), learning_rate=(0.001, 0.01)) | {"p_value_holm": p}
    (rate,) = best_rates(rates([0.5, 0.2, 0.4]), pd.DataFrame([row]))
    assert (rate.best["learning_rate"], rate.best["test_error"], rate.at_end) == (0.01, 0.2, "")
    assert [row["learning_rate"] for row in rate.alike] == alike


@pytest.mark.parametrize(("lost", "at_end", "if_alone"), [("n_diverged", "", 1), ("n_failed", "largest", 0)])
def test_a_rate_that_diverged_bounds_the_grid_and_one_that_failed_does_not(lost, at_end, if_alone):
    table = rates([0.3, 0.1, float("nan")], **{"n_models": [3, 3, 0], lost: [0, 0, 3]})
    (rate,) = best_rates(table, NO_PAIRS)
    assert (rate.best["learning_rate"], rate.at_end) == (0.01, at_end)
    assert at_best_rate(table)["learning_rate"].tolist() == [0.01]
    assert len(best_rates(table.assign(**{"n_models": [0, 3, 0], lost: [3, 0, 3]}), NO_PAIRS)) == if_alone


def test_of_equally_good_rates_the_smallest_is_best():
    table = rates([0.3, 0.1, 0.1, 0.3]).iloc[::-1]
    assert best_rates(table, NO_PAIRS)[0].best["learning_rate"] == 0.001
    assert at_best_rate(table)["learning_rate"].tolist() == [0.001]


RESOLUTION, TOGETHER = 40, 10
"""Points on a side, and planes of which the label maps are in memory at a time."""
GRID = {"width": [2, 4, 8, 16], "label_noise": [0.0, 0.1, 0.2], "seed": [0, 1, 2, 3, 4]}
MODELS, CLASSES = 60, 4
PAIRS = 12 * 10 + 3 * 6 * 25
"""Followed on every plane: within 12 groups of 5, and between 4 groups of each label noise."""


def peak_of_scoring(directory, planes):
    """Bytes at the peak of computing every table."""
    sweep = small_sweep(grid=GRID, planes={"test": {"count": planes, "resolution": RESOLUTION}})
    store = made_up_run(directory, sweep, error=lambda model, epoch: 0.1)
    tracemalloc.start()
    try:
        compute_tables(store, sweep)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_label_maps_of_more_planes_take_no_more_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(plane_scores, "CHUNK_BYTES", TOGETHER * MODELS * RESOLUTION**2 * 2 // 8)
    few, many = (peak_of_scoring(tmp_path / str(planes), planes) for planes in (40, 120))
    # Pairs (twice: what is kept, and what an estimate copies), and of every model three numbers and two a class.
    of_plane = 2 * 8 * PAIRS + MODELS * (3 * 8 + CLASSES * (4 + 4))
    assert many - few < 80 * of_plane
    of_label_maps = MODELS * RESOLUTION**2
    assert of_plane < 0.2 * of_label_maps
    assert many < 120 * of_label_maps
