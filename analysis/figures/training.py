"""How decision regions develop: one plane over the kept epochs of a training, as a picture and as a GIF."""

import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from dbviz_ray.store import Labels

from ..findings.curves import evenly
from ..scores.groups import KIND, alike, at_last_epoch, records
from .captions import title_of
from .regions import Colours, PlanePicture, class_legend, colours_for, draw_regions, plane_picture
from .style import entitle, panels
from .sweep_tables import SweepTables, on_one_grid, representative_groups

MILLISECONDS, HELD = 400, 2500
"""Duration of a frame, and of the last one."""
GIF_DOTS, GIF_COLOURS = 100, 256
"""Dots per inch, and colours of the palette that all frames share, so that nothing flickers."""


@dataclass(frozen=True)
class Animation:
    """Changes a few artists of one figure from frame to frame."""

    figure: Figure
    frames: int
    show: Callable[[int], None]
    """Changes the figure to frame number 0, 1, ..."""

    def gif(self) -> bytes:
        """All frames as a GIF. The figure is laid out once, in its last frame, so that nothing jumps."""
        canvas = FigureCanvasAgg(self.figure)
        self.figure.set_dpi(GIF_DOTS)
        self.show(self.frames - 1)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        images = []
        for frame in range(self.frames):
            self.show(frame)
            canvas.draw()
            images.append(np.asarray(canvas.buffer_rgba())[..., :3] @ np.array([1 << 16, 1 << 8, 1], np.int32))
        places, palette = _with_palette(images)
        first, *rest = (Image.fromarray(frame) for frame in places)
        for image in (first, *rest):
            image.putpalette(palette.tobytes())
        durations = [MILLISECONDS] * len(rest) + [HELD]
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, disposal=1)
        return file.getvalue()


MAX_GROUPS, MAX_COLUMNS, MAX_FRAMES = 4, 6, 60
PANEL = 2.4
"""Width of a map, in inches."""


@dataclass(frozen=True)
class _Training:
    """The first training of a group, over its kept epochs."""

    name: str
    epochs: list[int]
    """Ascending."""
    maps: Labels
    """Label maps of one plane, `[epochs, rows, columns]`."""
    errors: list[str]
    """A text for each epoch."""


def training(tables: SweepTables) -> Figure:
    """Rows: at most four representative groups; columns: at most six kept epochs, evenly spaced.

    Each row shows the first training of its group on the first plane; neither was chosen for its looks.
    """
    trainings, common, picture, colours = _trainings(tables)
    columns = max(min(len(one.epochs), MAX_COLUMNS) for one in trainings)
    height = PANEL * min(picture.aspect, 1.6) + 0.5
    figure, grid = panels(len(trainings), columns, PANEL * columns + 0.6, height * len(trainings) + 0.9)
    for row, one in zip(grid, trainings, strict=True):
        shown = evenly(len(one.epochs), columns)
        for axes, place in zip(row, shown, strict=False):
            draw_regions(axes, one.maps[place], picture, colours)
            axes.set_title(f"epoch {one.epochs[place]}\n{one.errors[place]}", fontsize=9)
        for axes in row[len(shown) :]:
            axes.set_axis_off()
        row[0].set_ylabel(one.name)
    caption = "one plane after several epochs of the first training of each kind\npredicted class"
    class_legend(figure, picture.class_names, caption, [one.maps for one in trainings])
    return entitle(figure, title_of("training", tables.sweep, common))


def training_gif(tables: SweepTables) -> bytes:
    """The picture of `moving` as a GIF."""
    return moving(tables).gif()


def moving(tables: SweepTables) -> Animation:
    """The same groups side by side, one frame for each epoch."""
    trainings, common, picture, colours = _trainings(tables)
    every = sorted({epoch for one in trainings for epoch in one.epochs})
    frames = [every[place] for place in evenly(len(every), MAX_FRAMES)]
    height = 1.2 * PANEL * min(picture.aspect, 1.6)
    figure, (row,) = panels(1, len(trainings), max(6.0, 1.2 * PANEL * len(trainings) + 0.3), height + 1.7)
    for axes, one in zip(row, trainings, strict=True):
        draw_regions(axes, one.maps[-1], picture, colours)
    class_legend(figure, picture.class_names, "predicted class", [one.maps for one in trainings])

    def show(frame: int) -> None:
        for axes, one in zip(row, trainings, strict=True):
            place = max(0, bisect_right(one.epochs, frames[frame]) - 1)  # the last epoch up to the frame's
            axes.images[0].set_data(one.maps[place])
            axes.set_title(f"{one.name}\n{one.errors[place]}".replace("\n(", " ("))
        entitle(figure, f"{title_of('training', tables.sweep, common)}\nepoch {frames[frame]}")

    return Animation(figure, len(frames), show)


def _trainings(tables: SweepTables) -> tuple[list[_Training], str, PlanePicture, Colours]:
    """The first training of each of at most `MAX_GROUPS` groups, what these have in common, the plane, and colours."""
    groups, common = representative_groups(at_last_epoch(tables.trained()), tables.table("peaks"))
    models = tables.first("models")
    trainings = []
    for group in records(groups.iloc[evenly(len(groups), MAX_GROUPS)]):
        members = alike(models, group, KIND)
        kept = records(members[members["model_id"] == members["model_id"].iloc[0]].sort_values("epoch"))
        errors = [f"error: training {of['train_error']:.0%}, {of['tested_on']} {of['test_error']:.0%}" for of in kept]
        maps = on_one_grid([tables.picture(of).labels for of in kept])
        trainings.append(_Training(group["text"], [int(of["epoch"]) for of in kept], maps, errors))
    picture = plane_picture(tables.store, tables.plane_set, 0)
    return trainings, common, picture, colours_for([one.maps for one in trainings], len(picture.class_names))


def _with_palette(images: Sequence[NDArray[np.int32]]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Each pixel's index in the palette, `[frames, height, width]`, and the palette, `[colours, 3]`.

    `images` are `[height, width]` each, the colour of a pixel in one number, red << 16 | green << 8 | blue.
    The palette has the most frequent colours, so that flat areas stay exact; all others become the nearest of these.
    """
    counts = np.zeros(1 << 24, np.int64)
    for image in images:
        counts += np.bincount(image.ravel(), minlength=len(counts))
    colours = np.flatnonzero(counts)
    each = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1).astype(np.int32)
    palette = each[np.argsort(-counts[colours], kind="stable")[:GIF_COLOURS]]
    nearest = np.zeros(len(counts), np.uint8)
    nearest[colours] = [((palette - colour) ** 2).sum(axis=1).argmin() for colour in each]
    return np.stack([nearest[image] for image in images]), palette.astype(np.uint8)
