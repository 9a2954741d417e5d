"""Figures of regions, also over epochs, show the stored label maps and scores, in colours that all can tell apart."""

import io

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageSequence
from skimage.color import deltaE_ciede2000, rgb2lab
from support.drawn_figures import drawn_one
from support.made_up_runs import CASES

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.figures.regions import FADED, OTHERS, colours_for
from dbviz_ray.analysis.figures.style import CLASS_COLOURS, class_colours
from dbviz_ray.analysis.figures.sweep_tables import SweepTables
from dbviz_ray.analysis.figures.training import Animation, moving
from dbviz_ray.analysis.tables import read_table


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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three widths, four kept epochs."""
    grid = {"width": [2, 4, 8], "label_noise": [0.2], "seed": [0, 1]}
    sweep = small_sweep(grid=grid, training={"epochs": KEPT[-1], "snapshots": KEPT[:-1]})
    folder = tmp_path_factory.mktemp("run")
    store, figure = drawn_one(folder, sweep, "training", error=lambda model, epoch: 1 / (model.width + epoch))
    return store, sweep, figure


def maps_of(store, sweep, width):
    model = next(model for model in sweep.models() if model.width == width)
    return [store.read_label_maps("test", model.model_id, epoch)[0] for epoch in KEPT]


def test_the_picture_shows_groups_by_epochs(run):
    store, sweep, figure = run
    grid = np.array(figure.axes).reshape(3, len(KEPT))
    assert [row[0].get_ylabel().splitlines()[0] for row in grid] == ["width 2", "width 4", "width 8"]
    for row, width in zip(grid, (2, 4, 8), strict=True):
        for axes, epoch, label_map in zip(row, KEPT, maps_of(store, sweep, width), strict=True):
            assert np.array_equal(axes.images[0].get_array(), label_map)
            assert axes.get_title().startswith(f"epoch {epoch}\nerror: training ")


def test_every_frame_shows_its_epoch(run):
    store, sweep, _ = run
    animation = moving(SweepTables(store, sweep))
    assert animation.frames == len(KEPT)
    for frame, epoch in enumerate(KEPT):
        animation.show(frame)
        assert animation.figure.get_suptitle().endswith(f"\nepoch {epoch}")
        for axes, width in zip(animation.figure.axes, (2, 4, 8), strict=True):
            assert np.array_equal(axes.images[0].get_array(), maps_of(store, sweep, width)[frame])


def test_the_gif_loops_and_holds_its_last_frame(run):
    store, sweep, _ = run
    assert figures_of(sweep)["training"].suffixes == ("png", "pdf", "gif")
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
