"""How decision regions come about: one plane over the kept epochs of a training, as a picture and moving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..findings.curves import evenly
from ..scores.groups import KIND, at_last_epoch, records
from ..tables import read_table
from .animation import Animation
from .files import on_one_grid, shown_map
from .line_breaks import lines
from .regions import Colours, PlanePicture, class_legend, colours_for, draw_regions, plane_picture
from .style import STYLE, title_of
from .sweep_tables import representative_groups

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
    """`[epochs, rows, columns]`, of one plane."""
    errors: list[str]
    """At each epoch, in words."""

    def at(self, epoch: int) -> int:
        """Place of the last kept epoch up to `epoch`, or of the first."""
        return max(0, int(np.searchsorted(self.epochs, epoch, side="right")) - 1)


def training(store: Store, sweep: SweepConfig) -> Figure:
    """Rows: telling groups, at most four; columns: at most six kept epochs, evenly spaced.

    Of each group the first training, on the first plane of the first plane set: neither was chosen for its looks.
    """
    trainings, common = _trainings(store, sweep)
    picture = plane_picture(store, next(iter(sweep.planes)), 0)
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
    figure.suptitle(_title(sweep, common, figure))
    return figure


def moving(store: Store, sweep: SweepConfig) -> Animation:
    """The same groups side by side, a frame an epoch."""
    trainings, common = _trainings(store, sweep)
    picture = plane_picture(store, next(iter(sweep.planes)), 0)
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
        figure.suptitle(f"{_title(sweep, common, figure)}\nepoch {frames[frame]}")

    return Animation(figure, len(frames), show)


def _trainings(store: Store, sweep: SweepConfig) -> tuple[list[_Training], str]:
    """The first training of every group that is shown, and what the groups have in common."""
    plane_set = next(iter(sweep.planes))
    tables = [read_table(store, name) for name in ("groups", "models", "differences")]
    groups, models = (table[table["plane_set"] == plane_set] for table in tables[:2])
    rows, common = representative_groups(at_last_epoch(groups[groups["n_models"] > 0]), tables[2])
    rows = rows.iloc[evenly(len(rows), MAX_GROUPS)]
    return [_training(store, plane_set, group, records(models)) for group in records(rows)], common


def _training(store: Store, plane_set: str, group: dict[str, Any], models: Sequence[dict[str, Any]]) -> _Training:
    members = [row for row in models if all(row[column] == group[column] for column in KIND)]
    kept = sorted((row for row in members if row["model_id"] == members[0]["model_id"]), key=lambda row: row["epoch"])
    return _Training(
        name=group["text"],
        epochs=[int(row["epoch"]) for row in kept],
        maps=on_one_grid([shown_map(store, plane_set, row["model_id"], row["epoch"]) for row in kept]),
        errors=[
            f"error: training {row['train_error']:.0%}, {row['tested_on']} {row['test_error']:.0%}" for row in kept
        ],
    )


def _colours(trainings: Sequence[_Training], picture: PlanePicture) -> tuple[Colours, list[int]]:
    """A colour a class, and the classes that any map shows."""
    maps = [one.maps for one in trainings]
    classes = sorted({int(label) for of_one in maps for label in np.unique(of_one)})
    return colours_for(maps, len(picture.class_names)), classes


def _title(sweep: SweepConfig, common: str, figure: Figure) -> str:
    return lines(title_of(sweep, common), figure.get_figwidth(), STYLE["figure.titlesize"])


_CAPTION = "one plane, as the first training of each kind sees it after some of its epochs"
