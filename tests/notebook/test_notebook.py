"""A run in a notebook, and figures on axes of one's own."""

import os
import shutil
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_sweep
from matplotlib.figure import Figure
from support.made_up_runs import analysed, let_fail, made_up_run
from support.refusals import refused

import dbviz_ray
from dbviz_ray import compare, load_run, plot_curve, plot_matrix, plot_regions
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.architectures import initialised_network

MODEL = "w4-adam-noise0.2-seed1"
SHOWN = ["w2-adam-noise0.2-seed0", "w8-adam-noise0.2-seed1@1"]
LOST = "w8-adam-noise0-seed1"
"""Could not be trained."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three widths, two label noises, two seeds, a snapshot, two plane sets; tests must not change it."""
    sweep = small_sweep(
        grid={"width": [2, 4, 8], "label_noise": [0.0, 0.2], "seed": [0, 1]},
        training={"epochs": 3, "batch_size": 64, "snapshots": [1]},
        planes={"test": {"count": 6, "resolution": 12}, "train": {"count": 4, "resolution": 9, "images": "train"}},
    )
    directory = tmp_path_factory.mktemp("notebook") / "small"
    store = made_up_run(directory, sweep, error=lambda model, epoch: 1 / (model.width + epoch))
    let_fail(store, sweep, lambda model: "train" if LOST in model.model_id else "")
    analysed(store, sweep)
    return load_run(directory)


@pytest.fixture(scope="module")
def comparison():
    networks = [initialised_network("fully_connected", 8, (1, 8, 8), 10, seed=seed) for seed in range(3)]
    images = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return compare(networks, images, torch.arange(40) % 10, names=["a", "b", "c"], planes=4, resolution=10)


@pytest.fixture(autouse=True)
def _figures_are_closed():
    from matplotlib import pyplot

    mpl.use("agg")
    yield
    pyplot.close("all")


def values(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_scores_are_the_stored_tables_of_which_the_run_tells(run):
    groups = read_table(run.store, "groups")
    for table in (run.table("groups"), run.arrow("groups").to_pandas()):
        pd.testing.assert_frame_equal(table, groups)
    assert set(run.tables) > {"groups", "models", "pairs", "outcomes"}
    assert all(word in repr(run) for word in ("small", run.store.root, *run.tables))
    assert any("width 8" in sentence for sentence in run.findings)


def test_models_come_with_all_their_fields_and_what_became_of_them(run):
    models = run.models.set_index("model_id")
    assert len(models) == 12
    for config in run.sweep.models():
        row = models.loc[config.model_id, ["width", "label_noise", "training.epochs", "seeds.init"]]
        assert row.tolist() == [config.width, config.label_noise, 3, config.seeds.init]
    lost = models[models["outcome"] != "done"]
    assert list(lost.index.str.contains(LOST)) == [True]
    assert lost["test_error"].isna().all()
    scored = run.table("models")
    last = scored[(scored["epoch"] == 3) & (scored["plane_set"] == "test")].set_index("model_id")
    assert models.drop(lost.index)["test_error"].to_dict() == last["test_error"].to_dict()


def test_label_maps_and_planes_are_arrays_and_tables(run):
    model = next(model for model in run.sweep.models() if MODEL in model.model_id)
    maps = run.label_maps(MODEL)
    assert (maps.shape, maps.dtype) == ((6, 12, 12), np.uint8)
    assert np.array_equal(maps, run.store.read_label_maps("test", model.model_id, 3))
    early = run.label_maps(MODEL, plane_set="train", epoch=1)
    assert np.array_equal(early, run.store.read_label_maps("train", model.model_id, 1))
    assert np.array_equal(run.label_maps(f"{MODEL}@1", "train"), early)
    table = run.label_table(MODEL)
    assert table.column_names == ["plane", "labels"]
    assert table["labels"][4].as_py() == maps[4].reshape(-1).tolist()
    assert len(run.planes("train")) == 4
    assert {"anchor_a", "anchor_b", "a_range", "b_range"} < set(run.planes().columns)
    assert (run.plane(3).images.shape, run.plane(3).extent) == ((3, 2, 2, 3), (-0.1, 1.1, -0.1, 1.1))


def test_what_is_damaged_or_not_there_yet_is_told(run, tmp_path):
    run = load_run(shutil.copytree(run.store.root, tmp_path / "small"))
    model_id = run.sweep.models()[0].model_id
    file = run.store.labels_file("test", model_id, 3)
    run.store.write(file, run.store.read(file)[:-20])
    run.store.remove_folder("scores")
    assert run.tables == ()
    assert "outcome" not in run.models
    assert run.store.path(file) in str(refused(run.label_maps, model_id))
    for asked in (lambda: run.findings, lambda: run.table("groups")):
        assert " analyse" in str(refused(asked))


def test_regions_of_a_run(run):
    panels = plot_regions(run, SHOWN, plane=2)
    for axes, name in zip(panels, SHOWN, strict=True):
        assert np.array_equal(values(axes), run.label_maps(name)[2])
    assert [axes.get_title() for axes in panels] == ["w2 seed0 epoch 3", "w8 seed1 epoch 1"]
    own = Figure().subplots(1, 2)
    assert list(plot_regions(run, SHOWN, plane_set="train", ax=own)) == list(own)
    assert values(own[0]).shape == (9, 9)
    (alone,) = plot_regions(run, SHOWN[0])
    assert alone.get_title() == "fully_connected-w2-adam-noise0.2-seed0"


def test_regions_and_the_matrix_of_a_comparison(comparison):
    panels = plot_regions(comparison, plane=3)
    assert [axes.get_title() for axes in panels] == ["a", "b", "c"]
    assert all(np.array_equal(values(panels[at]), comparison.label_maps[at, 3]) for at in range(3))
    (second,) = plot_regions(comparison, "b", ax=Figure().subplots())
    assert np.array_equal(values(second), comparison.label_maps[1, 0])
    axes = plot_matrix(comparison)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert values(axes)[0, 1] == pytest.approx(comparison.pairs[0].reproducibility.value)
    assert np.isnan(np.ma.filled(axes.images[0].get_array(), np.nan)[0, 0])


@pytest.mark.parametrize(("over", "points"), [("width", 3), ("epoch", 2)])
def test_curves_hold_what_the_table_says(run, over, points):
    axes = plot_curve(run, "reproducibility", over, plane_set="train")
    groups = run.table("groups")
    groups = groups[(groups["plane_set"] == "train") & groups["reproducibility"].notna()]
    known = set(groups[[over, "reproducibility"]].itertuples(index=False, name=None))
    assert max(len(line.get_xdata()) for line in axes.lines) == points
    for line in axes.lines:
        drawn = zip(line.get_xdata(), line.get_ydata(), strict=True)
        assert {(at, value) for at, value in drawn if np.isfinite(value)} <= known
    assert len(axes.collections) == len(axes.lines), "a band each"
    assert (axes.get_xlabel(), axes.get_ylabel()) == (over, "reproducibility")
    own = Figure().subplots()
    assert plot_curve(run, over=over, ax=own) is own


def test_the_matrix_of_a_run(run):
    axes = plot_matrix(run, label_noise=0.2)
    groups, between = run.table("groups"), run.table("between_groups")
    chosen = groups[(groups["plane_set"] == "test") & (groups["label_noise"] == 0.2) & (groups["epoch"] == 3)]
    assert np.diag(values(axes)) == pytest.approx(chosen["reproducibility"].to_numpy())
    pairs = between[(between["plane_set"] == "test") & (between["label_noise"] == 0.2)]
    assert sorted(values(axes)[np.triu_indices(3, 1)]) == pytest.approx(sorted(pairs["reproducibility"]))
    assert axes.get_xticklabels()[0].get_text() == "fully connected network, width 2"


@pytest.mark.parametrize(
    ("asked", "field", "allowed"),
    [
        (lambda run, _: run.label_maps("w4-"), "model", None),
        (lambda run, _: run.label_maps(MODEL, "trains"), "plane set", "test, train"),
        (lambda run, _: run.label_maps(MODEL, epoch=2), "model", "1, 3"),
        (lambda run, _: run.label_maps(LOST), "label maps of", None),
        (lambda run, _: run.picture(MODEL, 6), "plane", "from 0 to 5"),
        (lambda run, _: run.plane(-1), "plane", "from 0 to 5"),
        (lambda run, _: run.table("regions"), "table", None),
        (lambda run, _: load_run(run.store.path("scores")), "", None),
        (lambda run, _: plot_regions(run), "models", None),
        (lambda run, _: plot_regions(run, SHOWN, ax=Figure().subplots()), "ax", "2, one for each panel"),
        (lambda _, own: plot_regions(own, ["a", "d"]), "models", "a, b, c"),
        (lambda _, own: plot_regions(own, plane=4), "plane", "from 0 to 3"),
        (lambda run, _: plot_curve(run, "accuracy"), "score", None),
        (lambda run, _: plot_curve(run, over="seed"), "over", "width, epoch"),
        (lambda run, _: plot_curve(run, "margin"), "over", ""),
        (lambda run, _: plot_matrix(run, label_noise=0.3), "label_noise", "0, 0.2"),
        (lambda run, _: plot_regions(run.store.root), "of", "a Run or a Comparison"),
        (lambda _, own: plot_curve(own), "run", "a Run"),
    ],
)
def test_a_wrong_argument_is_a_user_error(run, comparison, asked, field, allowed):
    mistake = refused(asked, run, comparison)
    assert mistake.field.startswith(field)
    assert allowed in (None, mistake.allowed)


def test_every_name_of_the_package_is_there():
    for name in dbviz_ray.__all__:
        assert getattr(dbviz_ray, name).__name__ == name
        assert name in dir(dbviz_ray)
    with pytest.raises(AttributeError):
        _ = dbviz_ray.plot_everything


def test_what_is_imported_is_what_is_needed(run):
    """To name a sweep's figures no matplotlib, to look at a run neither torch nor Ray, and to compare no Ray."""
    code = (
        "import sys; from dbviz_ray.analysis.figures import figures_of; from dbviz_ray.config import sweep_files; "
        "figures_of(sweep_files.load_sweep('double_descent_digits')); print({'matplotlib'} & set(sys.modules)); "
        "from dbviz_ray import load_run, plot_curve, plot_matrix, plot_regions; "
        f"run = load_run({run.store.root!r}); run.models; run.label_maps({MODEL!r}); plot_regions(run, {MODEL!r}); "
        "plot_curve(run); plot_matrix(run); print({'torch', 'ray', 'mlflow'} & set(sys.modules)); "
        "from dbviz_ray import compare; print({'ray', 'mlflow'} & set(sys.modules))"
    )
    words, environment = [sys.executable, "-c", code], os.environ | {"MPLBACKEND": "agg"}
    result = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert (result.stdout, result.returncode) == ("set()\n" * 3, 0), result.stderr
