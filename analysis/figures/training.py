"""How decision regions develop: one plane over the kept epochs of a training, as a picture and as a GIF."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import PictureKey

from ..findings.curves import evenly
from ..scores.groups import KIND, at_last_epoch, records
from .regions import Colours, PlanePicture, class_legend, colours_for, draw_regions, plane_picture
from .style import STYLE, lines, title_of
from .sweep_tables import SweepTables, key_of, on_one_grid, representative_groups

MAX_GROUPS, MAX_COLUMNS, MAX_FRAMES = 4, 6, 60
PANEL = 2.4
"""Width of a map, in inches."""


@dataclass(frozen=True)
class _Training:
    """The first training of a group, over its kept epochs."""

    name: str
    epochs: list[int]
    """Ascending."""
    maps: NDArray[np.uint8]
    """Label maps of one plane, `[epochs, rows, columns]`."""
    errors: list[str]
    """A text for each epoch."""

    def at(self, epoch: int) -> int:
        """The place of the last kept epoch up to `epoch`, or of the first one."""
        return max(0, int(np.searchsorted(self.epochs, epoch, side="right")) - 1)


def training(tables: SweepTables) -> Figure:
    """Rows: at most four representative groups; columns: at most six kept epochs, evenly spaced.

    Each row shows the first training of its group on the first plane; neither was chosen for its looks.
    """
    trainings, common = _trainings(tables)
    picture = plane_picture(tables.store, tables.plane_set, 0)
    columns = max(min(len(one.epochs), MAX_COLUMNS) for one in trainings)
    height = PANEL * min(picture.aspect, 1.6) + 0.5
    figure = Figure(figsize=(PANEL * columns + 0.6, height * len(trainings) + 0.9), layout="constrained")
    grid = figure.subplots(len(trainings), columns, squeeze=False)
    colours, classes = _colours(trainings, picture)
    for row, one in zip(grid, trainings, strict=True):
        shown = evenly(len(one.epochs), columns)
        for axes, place in zip(row, shown, strict=False):
            draw_regions(axes, one.maps[place], picture, colours)
            axes.set_title(f"epoch {one.epochs[place]}\n{one.errors[place]}", fontsize=9)
        for axes in row[len(shown) :]:
            axes.set_axis_off()
        row[0].set_ylabel(one.name, fontsize=10)
    class_legend(figure, picture.class_names, f"{_CAPTION}\npredicted class", classes, colours)
    figure.suptitle(_title(tables.sweep, common, figure))
    return figure


def moving(tables: SweepTables) -> Animation:
    """The same groups side by side, one frame for each epoch."""
    trainings, common = _trainings(tables)
    picture = plane_picture(tables.store, tables.plane_set, 0)
    every = sorted({epoch for one in trainings for epoch in one.epochs})
    frames = [every[place] for place in evenly(len(every), MAX_FRAMES)]
    height = 1.2 * PANEL * min(picture.aspect, 1.6)
    figure = Figure(figsize=(max(6.0, 1.2 * PANEL * len(trainings) + 0.3), height + 1.7), layout="constrained")
    row: Sequence[Axes] = figure.subplots(1, len(trainings), squeeze=False)[0]
    colours, classes = _colours(trainings, picture)
    for axes, one in zip(row, trainings, strict=True):
        draw_regions(axes, one.maps[-1], picture, colours)
    class_legend(figure, picture.class_names, "predicted class", classes, colours)

    def show(frame: int) -> None:
        for axes, one in zip(row, trainings, strict=True):
            place = one.at(frames[frame])
            axes.images[0].set_data(one.maps[place])
            axes.set_title(f"{one.name}\n{one.errors[place]}".replace("\n(", " ("))
        figure.suptitle(f"{_title(tables.sweep, common, figure)}\nepoch {frames[frame]}")

    return Animation(figure, len(frames), show)


def pictures_shown(tables: SweepTables) -> list[PictureKey]:
    """Keys of the pictures in `training` and `moving`."""
    rows, _ = _groups(tables)
    return [key_of(row) for group in records(rows) for row in _kept(tables, group)]


def _groups(tables: SweepTables) -> tuple[pd.DataFrame, str]:
    """At most `MAX_GROUPS` rows of `groups`, and what they have in common."""
    rows, common = representative_groups(at_last_epoch(tables.trained()), tables.table("differences"))
    return rows.iloc[evenly(len(rows), MAX_GROUPS)], common


def _kept(tables: SweepTables, group: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a group's first training in `models`, one for each kept epoch."""
    models = tables.first("models")
    members = models[(models[KIND] == [group[column] for column in KIND]).all(axis=1)]
    return records(members[members["model_id"] == members["model_id"].iloc[0]].sort_values("epoch"))


def _trainings(tables: SweepTables) -> tuple[list[_Training], str]:
    """The first training of each group, and what the groups have in common."""
    rows, common = _groups(tables)
    trainings = []
    for group in records(rows):
        kept = _kept(tables, group)
        maps = on_one_grid([tables.picture(key_of(row)).labels for row in kept])
        errors = [
            f"error: training {row['train_error']:.0%}, {row['tested_on']} {row['test_error']:.0%}" for row in kept
        ]
        trainings.append(_Training(group["text"], [int(row["epoch"]) for row in kept], maps, errors))
    return trainings, common


def _colours(trainings: Sequence[_Training], picture: PlanePicture) -> tuple[Colours, list[int]]:
    """One colour for each class, and the classes that occur in the maps."""
    maps = [one.maps for one in trainings]
    classes = sorted({int(label) for of_one in maps for label in np.unique(of_one)})
    return colours_for(maps, len(picture.class_names)), classes


def _title(sweep: SweepConfig, common: str, figure: Figure) -> str:
    return lines(title_of(sweep, common), figure.get_figwidth(), STYLE["figure.titlesize"])


_CAPTION = "one plane after several epochs of the first training of each kind"


GIF_DOTS = 100
"""Dots per inch."""
GIF_COLOURS = 256
"""Colours of the palette that all frames share, so that nothing flickers."""


@dataclass(frozen=True)
class Animation:
    """An animation whose frames change a few artists of one figure."""

    figure: Figure
    frames: int
    show: Callable[[int], None]
    """Changes the figure to frame number 0, 1, ..."""
    seconds: float = 0.4
    """Duration of each frame."""
    held: float = 2.5
    """Duration of the last frame."""

    def images(self) -> NDArray[np.uint8]:
        """Every frame, `[frames, height, width, 3]`.

        The figure is laid out once, in its last frame, so that nothing jumps.
        """
        canvas = FigureCanvasAgg(self.figure)
        self.figure.set_dpi(GIF_DOTS)
        self.show(self.frames - 1)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        images = []
        for frame in range(self.frames):
            self.show(frame)
            canvas.draw()
            images.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        return np.stack(images)

    def gif(self) -> bytes:
        """All frames as a GIF."""
        places, palette = _with_palette(self.images())
        first, *rest = (Image.fromarray(frame) for frame in places)
        for image in (first, *rest):
            image.putpalette(palette.tobytes())
        durations = [round(1000 * self.seconds)] * len(rest) + [round(1000 * self.held)]
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, disposal=1)
        return file.getvalue()


def _with_palette(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Each pixel's index in the palette, `[frames, height, width]`, and the palette, `[colours, 3]`.

    The palette has the most frequent colours, so that flat areas stay exact; all others become the nearest of these.
    """
    counts = np.zeros(1 << 24, np.int64)
    for image in images:  # one at a time: all together would need ten times the memory of the images
        counts += np.bincount(_packed(image).ravel(), minlength=len(counts))
    colours = np.flatnonzero(counts)
    each = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1).astype(np.int32)
    palette = each[np.argsort(-counts[colours], kind="stable")[:GIF_COLOURS]]
    nearest = np.zeros(len(counts), np.uint8)
    nearest[colours] = [((palette - colour) ** 2).sum(axis=1).argmin() for colour in each]
    return np.stack([nearest[_packed(image)] for image in images]), palette.astype(np.uint8)


def _packed(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The colour of each pixel as one number, `[height, width]`."""
    red, green, blue = np.moveaxis(image.astype(np.int32), -1, 0)
    return np.asarray(red << 16 | green << 8 | blue)
