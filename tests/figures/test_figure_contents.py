"""Figures show the values of the tables and the stored label maps, in colours that all can tell apart."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageSequence
from skimage.color import deltaE_ciede2000, rgb2lab
from support.drawn_figures import caption_of, drawn, drawn_one
from support.made_up_runs import CASES, CROSSED

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.figures.dependence import MAX_POINTS
from dbviz_ray.analysis.figures.regions import FADED, OTHERS, colours_for
from dbviz_ray.analysis.figures.style import CLASS_COLOURS, class_colours, limits
from dbviz_ray.analysis.figures.sweep_tables import SweepTables
from dbviz_ray.analysis.figures.training import Animation, moving
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
    assert {name: len(figure.axes) for name, figure in figures.items()} == {"decision_regions": 1, "plane_sets": 1}


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
    assert (regions.get_xscale(), regions.get_xlim()[0]) == ("log", 0.9)


def first_maps(store, plane_set, models):
    return [store.read_label_maps(plane_set, model_id, 3)[0] for model_id in models["model_id"]]


def test_kinds_of_networks_are_columns_sorted_by_reproducibility(tmp_path):
    sweep = small_sweep(cases=CASES, grid={"label_noise": [0.0, 0.1, 0.2], "seed": [0, 1, 2]})
    store, figure = drawn_one(tmp_path, sweep, "architectures", error=lambda model, _: 0.4 if model.width == 4 else 0.1)
    groups, models = (read_table(store, name) for name in ("groups", "models"))
    blocks = np.split(np.array(figure.axes), 2)
    for block, noise, heading in zip(blocks, (0.0, 0.2), ("(a) no label noise", "(b) label noise 0.2"), strict=True):
        assert block[0].texts[0].get_text() == heading
        rows = block[1:].reshape(3, 2)
        for column, name in zip(rows.T, ("vit", "fully_connected"), strict=True):
            of_group = (models["architecture"] == name) & (models["label_noise"] == noise)
            maps = first_maps(store, "test", models[of_group])
            for axes, label_map in zip(column[:2], maps, strict=False):
                assert np.array_equal(axes.images[0].get_array(), label_map)
            apart = [maps[a] != maps[b] for a, b in ((0, 1), (0, 2), (1, 2))]
            np.testing.assert_allclose(column[2].images[0].get_array(), np.mean(apart, axis=0))
            (group,) = groups[(groups["architecture"] == name) & (groups["label_noise"] == noise)].to_dict("records")
            said = " ".join(column[0].get_xlabel().split())
            assert said.startswith(f"error {group['test_error']:.0%}, agreement {group['reproducibility']:.0%}")
    assert [axes.get_title() for axes in blocks[0][1:3]] == ["ViT", "fully connected network"]


def test_each_plane_set_has_a_row_and_its_count_of_regions(tmp_path):
    noise = {"count": 4, "off_manifold": "uniform_noise", "resolution": 6}
    sets = {"test": {"count": 3, "resolution": 8}, "noise": noise}
    sweep = small_sweep(cases=CASES, grid={"seed": [0, 1]}, planes=sets)
    store, figure = drawn_one(tmp_path, sweep, "off_manifold")
    groups, models = (read_table(store, name) for name in ("groups", "models"))
    rows = np.array(figure.axes).reshape(2, 4)
    assert [row[0].get_ylabel() for row in rows] == ["test", "noise"]
    ranked = groups[groups["plane_set"] == "test"].sort_values("reproducibility", ascending=False, kind="stable")
    order = list(ranked["architecture"])
    for row, plane_set in zip(rows, sets, strict=True):
        for axes, name in zip(row[::2], order, strict=True):
            of_group = (groups["plane_set"] == plane_set) & (groups["architecture"] == name)
            assert axes.get_xlabel().startswith(f"{groups[of_group]['fragmentation'].item():.1f} [")
        maps = pd.concat([models[(models["plane_set"] == plane_set) & (models["architecture"] == n)] for n in order])
        for axes, label_map in zip(row, first_maps(store, plane_set, maps), strict=True):
            assert np.array_equal(axes.images[0].get_array(), label_map)


def test_colours_are_paler_where_the_class_is_less_probable(tmp_path):
    planes = {"test": {"count": 3, "resolution": 6, "probabilities": True}}
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]}, planes=planes)
    store, figure = drawn_one(tmp_path, sweep, "decision_regions")
    (label_map, _) = first_maps(store, "test", read_table(store, "models"))
    plain = np.array(class_colours(4))[label_map]
    faded = FADED * (1 - 0.7) / (1 - 1 / 4)
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), plain + (1 - plain) * faded, atol=2e-3)


def test_with_many_classes_the_largest_on_the_maps_get_colours():
    label_map = np.repeat(np.arange(30, 60, dtype=np.uint8), np.arange(30, 0, -1))[:, None]
    colours = colours_for([label_map], 100)
    assert colours[30:40] == class_colours(10)
    assert len(set(colours[30:50])) == 20
    assert set(colours[50:60]) == {OTHERS}
    assert colours_for([label_map % 10], 10) == class_colours(10)


SEEN_BY = {
    "everybody": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Machado, Oliveira and Fernandes 2009, severity 1, on linear sRGB."""


@pytest.mark.parametrize(("people", "least"), zip(SEEN_BY, (28.4, 17.5, 17.4, 14.4), strict=True))
def test_any_two_classes_are_told_apart(people, least):
    srgb = np.array([to_rgb(colour) for colour in CLASS_COLOURS])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(SEEN_BY[people]), 0, 1)
    lab = rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    differences = deltaE_ciede2000(lab[:, None], lab[None])
    assert differences[~np.eye(10, dtype=bool)].min() == pytest.approx(least, abs=0.05)


KEPT = [1, 2, 4, 8]


def test_the_picture_and_the_animation_show_groups_by_epochs(tmp_path):
    """The GIF loops and holds its last frame."""
    grid = {"width": [2, 4, 8], "label_noise": [0.2], "seed": [0, 1]}
    sweep = small_sweep(grid=grid, training={"epochs": KEPT[-1], "snapshots": KEPT[:-1]})
    assert figures_of(sweep)["training"].suffixes == ("png", "pdf", "gif")
    store, figure = drawn_one(tmp_path, sweep, "training", error=lambda model, epoch: 1 / (model.width + epoch))
    models = {model.width: model.model_id for model in reversed(sweep.models())}
    maps = {width: [store.read_label_maps("test", models[width], epoch)[0] for epoch in KEPT] for width in (2, 4, 8)}
    rows = np.array(figure.axes).reshape(3, len(KEPT))
    assert [row[0].get_ylabel().splitlines()[0] for row in rows] == ["width 2", "width 4", "width 8"]
    for row, width in zip(rows, maps, strict=True):
        for axes, epoch, label_map in zip(row, KEPT, maps[width], strict=True):
            assert np.array_equal(axes.images[0].get_array(), label_map)
            assert axes.get_title().startswith(f"epoch {epoch}\nerror: training ")
    animation = moving(SweepTables(store, sweep))
    assert animation.frames == len(KEPT)
    for frame, epoch in enumerate(KEPT):
        animation.show(frame)
        assert animation.figure.get_suptitle().endswith(f"\nepoch {epoch}")
        for axes, width in zip(animation.figure.axes, maps, strict=True):
            assert np.array_equal(axes.images[0].get_array(), maps[width][frame])
    gif = Image.open(io.BytesIO(store.read(store.figure_file("training", "gif"))))
    assert gif.info["loop"] == 0
    assert [frame.info["duration"] for frame in ImageSequence.Iterator(gif)] == [400, 400, 400, 2500]


def test_flat_colours_come_back_exactly_and_frames_differ():
    figure, colours = Figure(figsize=(1, 1)), class_colours(10)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    patch = axes.add_patch(Rectangle((0, 0), 1, 1))
    gif = Image.open(io.BytesIO(Animation(figure, 10, lambda frame: patch.set_facecolor(colours[frame])).gif()))
    for frame, colour in zip(ImageSequence.Iterator(gif), colours, strict=True):
        assert frame.size == (100, 100)
        assert frame.convert("RGB").getpixel((50, 50)) == tuple(round(255 * channel) for channel in to_rgb(colour))
