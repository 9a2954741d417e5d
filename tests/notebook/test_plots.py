"""Figures on axes of one's own."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from support.notebook_runs import notebook_run

from dbviz_ray import compare, plot_curve, plot_matrix, plot_regions
from dbviz_ray.architectures import initialised_network
from dbviz_ray.errors import UserError

MODELS = ["w2-adam-noise0.2-seed0", "w8-adam-noise0.2-seed1@1"]


@pytest.fixture(autouse=True)
def _figures_are_closed():
    from matplotlib import pyplot

    mpl.use("agg")
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return notebook_run(tmp_path_factory.mktemp("notebook") / "small")


@pytest.fixture(scope="module")
def comparison():
    networks = [initialised_network("fully_connected", 8, (1, 8, 8), 10, seed=seed) for seed in range(3)]
    images = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return compare(networks, images, torch.arange(40) % 10, names=["a", "b", "c"], planes=4, resolution=10)


def values(axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def test_regions_of_a_run(run):
    panels = plot_regions(run, MODELS, plane=2)
    assert panels.shape == (2,)
    assert np.array_equal(values(panels[0]), run.label_maps(MODELS[0])[2])
    assert np.array_equal(values(panels[1]), run.label_maps(MODELS[1])[2])
    assert [axes.get_title() for axes in panels] == ["w2 seed0 epoch 3", "w8 seed1 epoch 1"]
    own = Figure().subplots(1, 2)
    assert list(plot_regions(run, MODELS, plane_set="train", ax=own)) == list(own)
    assert values(own[0]).shape == (9, 9)
    (alone,) = plot_regions(run, MODELS[0])
    assert alone.get_title() == "fully_connected-w2-adam-noise0.2-seed0"


def test_regions_of_a_comparison(comparison):
    panels = plot_regions(comparison, plane=3)
    assert [axes.get_title() for axes in panels] == ["a", "b", "c"]
    assert all(np.array_equal(values(panels[at]), comparison.label_maps[at, 3]) for at in range(3))
    (second,) = plot_regions(comparison, "b", ax=Figure().subplots())
    assert np.array_equal(values(second), comparison.label_maps[1, 0])


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
    assert axes.get_xticklabels()[0].get_text() == "fully_connected, width 2"


def test_the_matrix_of_a_comparison(comparison):
    axes = plot_matrix(comparison)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert values(axes)[0, 1] == pytest.approx(comparison.pairs[0].reproducibility.value)
    assert np.isnan(np.ma.filled(axes.images[0].get_array(), np.nan)[0, 0])


@pytest.mark.parametrize(
    ("plot", "field", "allowed"),
    [
        (lambda run, _: plot_regions(run), "models", "model_ids of the run, or parts of them"),
        (lambda run, _: plot_regions(run, "w2-"), "model", None),
        (lambda run, _: plot_regions(run, MODELS, 6), "plane", "from 0 to 5"),
        (lambda run, _: plot_regions(run, MODELS, ax=Figure().subplots()), "ax", "2, one for each panel"),
        (lambda _, own: plot_regions(own, ["a", "d"]), "models", "a, b, c"),
        (lambda _, own: plot_regions(own, plane=4), "plane", "from 0 to 3"),
        (lambda run, _: plot_curve(run, "accuracy"), "score", None),
        (lambda run, _: plot_curve(run, over="seed"), "over", "width, epoch"),
        (lambda run, _: plot_curve(run, "margin"), "over", ""),
        (lambda run, _: plot_matrix(run, label_noise=0.3), "label_noise", "0, 0.2"),
        (lambda run, _: plot_matrix(run, plane_set="x"), "plane set", "test, train"),
    ],
)
def test_a_wrong_argument_is_a_user_error(run, comparison, plot, field, allowed):
    with pytest.raises(UserError) as raised:
        plot(run, comparison)
    (mistake,) = raised.value.mistakes
    assert mistake.field == field
    assert allowed in (None, mistake.allowed)
