"""The axes of the figures show the values of the tables."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.drawn_figures import caption_of, drawn, drawn_one
from support.made_up_runs import CASES, CROSSED

from dbviz_ray.analysis.figures.dependence import MAX_POINTS
from dbviz_ray.analysis.figures.style import limits
from dbviz_ray.analysis.findings.curves import SMALL_ERROR
from dbviz_ray.analysis.tables import read_table

MARGINS = {"images": 12, "directions": 3}
SETS = {"test": {"count": 6, "resolution": 6}, "train": {"count": 4, "images": "train", "resolution": 6}}


def points_of(axes):
    """Value, low and high end along x of every point with an interval, in the order of drawing."""
    found = []
    for container in axes.containers:
        ((low, _), (high, _)) = container.lines[2][0].get_segments()[0]
        found.append((float(container.lines[0].get_xdata()[0]), low, high))
    return np.array(found)


def test_margins_over_width_of_correct_and_mislabelled_images(tmp_path):
    grid = {"width": [2, 4, 8], "label_noise": [0.0, 0.25], "seed": [0, 1, 2], "label_noise_seed": [0]}
    store, figure = drawn_one(tmp_path, small_sweep(grid=grid, margins=MARGINS), "double_descent")
    error, learned, _, reproducibility, margin = figure.axes
    groups = read_table(store, "groups").set_index(["label_noise", "width"])
    lines = [(line.get_linestyle(), line.get_ydata()) for line in margin.lines if len(line.get_xdata()) == 3]
    assert [style for style, _ in lines] == ["-"] * 3, "dashed is the training error alone"
    expected = groups.loc[0.0, "margin"], groups.loc[0.25, "margin_correct"], groups.loc[0.25, "margin_mislabelled"]
    np.testing.assert_allclose([shown for _, shown in lines], expected)
    agreed = [line.get_ydata() for line in reproducibility.lines if len(line.get_xdata()) == 3]
    np.testing.assert_array_equal(agreed, [groups.loc[noise, "reproducibility"] for noise in (0.0, 0.25)])
    (shown,) = (line.get_ydata() for line in learned.lines if len(line.get_xdata()) == 3)
    np.testing.assert_array_equal(shown, groups.loc[0.25, "false_labels_learned"])
    assert error.get_ylim()[0] == 0


def test_quantiles_of_margins(tmp_path):
    grid = {"width": [4], "label_noise": [0.0, 0.25], "seed": [0, 1, 2], "label_noise_seed": [0]}
    store, figure = drawn_one(tmp_path, small_sweep(grid=grid, margins=MARGINS), "margins")
    (axes,) = figure.axes
    table = read_table(store, "margins")
    rows = table[(table["label_noise"] == 0.25) & table["images"].isin(["correct", "mislabelled"])]
    correct, mislabelled = rows["n_images"]
    assert (correct + mislabelled, mislabelled > 1) == (12, True)
    boxes = [(patch.get_y(), patch.get_y() + patch.get_height()) for patch in axes.patches]
    np.testing.assert_allclose(boxes, rows[["q25", "q75"]])
    whiskers, medians = ([c.get_segments() for c in axes.collections[start::3]] for start in (0, 1))
    ends = [(lower[0][1], upper[1][1]) for lower, upper in whiskers]
    np.testing.assert_allclose(ends, rows[["q10", "q90"]])
    np.testing.assert_allclose([of[0][0][1] for of in medians], rows["median"])


def test_plane_sets_over_width(tmp_path):
    grid = {"width": [2, 4, 8], "label_noise": [0.0, 0.2], "seed": [0, 1, 2]}
    store, figure = drawn_one(tmp_path, small_sweep(grid=grid, planes=SETS), "plane_sets")
    groups = read_table(store, "groups")
    noisiest = groups[groups["label_noise"] == 0.2]
    for axes, score in zip(figure.axes, ("fragmentation", "reproducibility"), strict=True):
        for line, name in zip(axes.lines, SETS, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), noisiest[noisiest["plane_set"] == name][score])


def test_plane_sets_without_curves_are_points(tmp_path):
    sweep = small_sweep(cases=CASES, grid={"seed": [0, 1, 2]}, planes=SETS)
    store, figure = drawn_one(tmp_path, sweep, "plane_sets")
    groups = read_table(store, "groups")
    by_network = groups.sort_values(["width", "plane_set"])
    for axes, score in zip(figure.axes, ("fragmentation", "reproducibility"), strict=True):
        np.testing.assert_allclose(points_of(axes), by_network[[score, f"{score}_low", f"{score}_high"]])
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert names == ["fully connected network", "ViT"]


def test_at_most_max_points_of_plane_sets_are_drawn(tmp_path):
    recipes = {f"recipe{n}": {"weight_decay": n / 100} for n in range(14)}
    sets = {f"set{n}": {"count": 2, "resolution": 6} for n in range(6)}
    sweep = small_sweep(grid={"recipes": recipes, "seed": [0, 1]}, planes=sets, scores=["fragmentation"])
    _, figure = drawn_one(tmp_path, sweep, "plane_sets")
    (regions,) = figure.axes
    assert len(regions.containers) == MAX_POINTS


def test_the_surface_over_width_and_epoch(tmp_path):
    grid = {"width": [2, 4, 8], "label_noise": [0.0, 0.1, 0.2], "seed": [0, 1, 2]}
    training = {"epochs": 9, "batch_size": 64, "snapshots": [1, 3]}
    shares = {1: 0.9, 3: 0.5, 9: 0.0}
    sweep = small_sweep(grid=grid, training=training)
    store, figure = drawn_one(tmp_path, sweep, "error_surface", error=lambda m, at: 0.9 if m.width == 2 else shares[at])
    panels = [axes for axes in figure.axes if axes.get_xlabel() == "width"]
    groups = read_table(store, "groups")
    for row, noise in zip((panels[:3], panels[3:]), (0.2, 0.1), strict=True):
        of_noise = groups[groups["label_noise"] == noise]
        assert row[0].get_ylabel() == f"fully connected network, label noise {noise:g}\nepoch"
        for axes, score in zip(row, ("test_error", "reproducibility", "fragmentation"), strict=True):
            shown = np.asarray(axes.collections[0].get_array()).reshape(3, 3)
            np.testing.assert_allclose(shown, of_noise.pivot(index="epoch", columns="width", values=score))
            (line,) = axes.lines
            assert line.get_ydata() == pytest.approx([9 * 3**0.5, 27**0.5, 27**0.5, 27**0.5])
        assert (of_noise[(of_noise["width"] > 2) & (of_noise["epoch"] == 9)]["train_error"] <= SMALL_ERROR).all()


def test_a_surface_with_a_hole(tmp_path):
    training = {"epochs": 4, "batch_size": 64, "snapshots": [1, 2]}
    sweep = small_sweep(grid={"width": [2, 4, 8], "seed": [0, 1]}, training=training)
    _, figure = drawn_one(tmp_path, sweep, "error_surface", diverged=lambda model: model.width == 4)
    shown = figure.axes[0]
    assert [label.get_text() for label in shown.get_xticklabels()] == ["2", "8"]
    assert "2 diverged trainings are left out" in caption_of(figure)


def test_shares_of_the_random_streams(tmp_path):
    store, figure = drawn_one(tmp_path, small_sweep(grid=CROSSED | {"width": [4, 8]}), "streams")
    table = read_table(store, "streams")
    panels = figure.axes
    assert [axes.get_title().split("\n")[0] for axes in panels] == ["width 4", "width 8"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["initialisation", "data order"]
    for axes, width in zip(panels, (4, 8), strict=True):
        rows = table[table["width"] == width]
        shown = np.array([container.lines[0].get_xdata()[0] for container in axes.containers], dtype=float)
        np.testing.assert_allclose(shown, rows[["total_share", "own_share"]].to_numpy().ravel())
        assert axes.get_title().endswith(f"{rows['disagreement'].iloc[0]:.0%} disagreement")


def test_counts_on_coarser_grids_and_their_limit(tmp_path):
    planes = {"coarse": {"count": 3, "resolution": 50}, "fine": {"count": 2, "resolution": 51}}
    sweep = small_sweep(grid={"width": [4, 8], "seed": [0, 1]}, planes=planes)
    store, figure = drawn_one(tmp_path, sweep, "resolution")
    regions, large = figure.axes
    table = read_table(store, "resolution")
    table = table[table["plane_set"] == "fine"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    for name, line, of_large in zip(names, regions.lines, large.lines[::2], strict=False):
        rows = table[table["width"] == int(name.split()[-1])]
        grids = rows[rows["kind"] == "grid"]
        assert list(line.get_xdata()) == list(grids["resolution"]) == [26, 51]
        np.testing.assert_array_equal(line.get_ydata(), grids["fragmentation"])
        np.testing.assert_array_equal(of_large.get_ydata(), grids["large_regions"])
    limits = sorted(float(container.lines[0].get_ydata()[0]) for container in large.containers)
    np.testing.assert_allclose(limits, sorted(table[table["kind"] == "extrapolated"]["large_regions"]))
    assert [label.get_text() for label in large.get_xticklabels()] == ["26", "51", "limit"]


def test_disagreement_covers_all_trainings_but_only_independent_pairs(tmp_path):
    sweep = small_sweep(grid=CROSSED)
    store, figure = drawn_one(tmp_path, sweep, "decision_regions")
    *shown, last = figure.axes
    assert [axes.get_title() for axes in (*shown, last)] == [*(f"training {n}" for n in range(1, 5)), "disagreement"]
    trained = [(m.seeds, store.read_label_maps("test", m.model_id, 3)[0]) for m in sweep.models()]
    apart = [(a != b).mean() for (one, a), (two, b) in itertools.combinations(trained, 2)
             if one.init != two.init and one.order != two.order]  # fmt: skip
    assert last.images[0].get_array().mean() == pytest.approx(np.mean(apart))


def test_one_training_has_nothing_to_disagree_with(tmp_path):
    sweep = small_sweep(grid={"width": [4], "seed": [0]}, scores=["fragmentation"], planes=SETS)
    _, figures = drawn(tmp_path, sweep, only=["decision_regions", "plane_sets"])
    assert len(figures["decision_regions"].axes) == 1
    assert len(figures["plane_sets"].axes) == 1


def test_an_axis_shows_every_value_and_cuts_off_extreme_intervals():
    table = pd.DataFrame({"x": [1.0, 3.0, np.nan], "x_low": [0.5, 2.0, np.nan], "x_high": [1.5, 4e8, np.nan]})
    usual = pd.concat([table, pd.DataFrame({"x": [2.0] * 3, "x_low": [1.5] * 3, "x_high": [2.5] * 3})])
    low, high = limits([(usual, "x")])
    assert (low, high) == pytest.approx((0.5 - 0.05 * 3.5, 4 + 0.05 * 3.5))
    assert limits([(pd.DataFrame({"x": [0.0], "x_low": [np.nan], "x_high": [np.nan]}), "x")]) == (-1.0, 1.0)


def test_very_different_counts_of_regions_get_a_log_axis(tmp_path):
    sets = {"smooth": {"count": 3, "resolution": 12}, "rough": {"count": 4, "resolution": 12}}
    sweep = small_sweep(grid={"width": [4], "label_noise": [0.0], "seed": [0, 1, 2]}, planes=sets)
    _, figure = drawn_one(tmp_path, sweep, "plane_sets", label_maps=lambda _, truth: truth * (len(truth) > 3))
    regions, _ = figure.axes
    assert regions.get_xscale() == "log"
    assert regions.get_xlim()[0] == 0.9
