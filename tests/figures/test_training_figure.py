"""Regions over the epochs of a training: the picture, and the GIF."""

import io

import numpy as np
import pytest
from conftest import small_sweep
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image, ImageSequence
from support.drawn_figures import drawn_one

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.figures.style import class_colours
from dbviz_ray.analysis.figures.sweep_tables import SweepTables
from dbviz_ray.analysis.figures.training import Animation, moving

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
