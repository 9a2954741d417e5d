"""Regions over the epochs of a training: the picture, and the GIF."""

import io

import numpy as np
import pytest
from conftest import small_sweep
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from support.drawn_figures import drawn

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.figures.style import class_colours
from dbviz_ray.analysis.figures.sweep_tables import SweepTables
from dbviz_ray.analysis.figures.training import Animation, moving

KEPT = [1, 2, 4, 8]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three widths, four kept epochs."""
    grid = {"width": [2, 4, 8], "label_noise": [0.2], "seed": [0, 1]}
    training = {"epochs": KEPT[-1], "snapshots": KEPT[:-1]}
    sweep = small_sweep(grid=grid, training=training)
    store, figures = drawn(tmp_path_factory.mktemp("run"), sweep, only=["training"],
                           error=lambda model, epoch: 1 / (model.width + epoch))  # fmt: skip
    return store, sweep, figures


def maps_of(store, sweep, width):
    model = next(model for model in sweep.models() if model.width == width)
    return [store.read_label_maps("test", model.model_id, epoch)[0] for epoch in KEPT]


def test_the_picture_shows_groups_by_epochs(run):
    store, sweep, figures = run
    grid = np.array(figures["training"].axes).reshape(3, len(KEPT))
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
        shown = [axes.images[0].get_array() for axes in animation.figure.axes]
        assert all(
            np.array_equal(one, maps_of(store, sweep, w)[frame]) for one, w in zip(shown, (2, 4, 8), strict=True)
        )


def test_the_gif_loops_and_holds_its_last_frame(run):
    store, sweep, _ = run
    assert figures_of(sweep)["training"].suffixes == ("png", "pdf", "gif")
    gif = Image.open(io.BytesIO(store.read(store.figure_file("training", "gif"))))
    assert gif.n_frames == len(KEPT)
    assert gif.info["loop"] == 0
    durations = []
    for frame in range(gif.n_frames):
        gif.seek(frame)
        durations.append(gif.info["duration"])
    assert durations == [400, 400, 400, 2500]


def test_flat_colours_come_back_exactly_and_frames_differ():
    figure = Figure(figsize=(1, 1))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    colours = class_colours(10)
    axes.set_facecolor("white")
    patch = axes.add_patch(Rectangle((0, 0), 1, 1))
    animation = Animation(figure, 10, lambda frame: patch.set_facecolor(colours[frame]))
    gif = Image.open(io.BytesIO(animation.gif()))
    for frame, colour in enumerate(colours):
        gif.seek(frame)
        assert gif.size == (100, 100)
        assert gif.convert("RGB").getpixel((50, 50)) == tuple(round(255 * channel) for channel in to_rgb(colour))
