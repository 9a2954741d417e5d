"""Where two trainings disagree on a plane, and what each predicts there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import PictureKey, Store

from ..scores.groups import records
from .choices import TRAINED, ChosenModel, check_plane, choose_plane_set, files_of_run, short_names
from .regions import Colours, PlanePicture, class_legend, colours_for, draw_regions, plane_picture
from .style import STYLE, lines, nothing_left, title_of
from .sweep_tables import SweepTables, key_of, on_one_grid, shown_picture

SAME = "0.92"
"""The grey of points on which two maps agree; no class is grey."""
PANEL = 2.7
"""The side of a map, in inches."""


@dataclass(frozen=True)
class Pair:
    """Two label maps of one plane, and their texts."""

    names: tuple[str, str]
    maps: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    """`[rows, columns]` each."""
    beside: str = ""


def disagreement(tables: SweepTables) -> Figure:
    """The first two trainings of the least reproducible representative group, and of the most reproducible one.

    Groups with trainings that predict one class everywhere count only if there are no others. All show the first plane
    of the first plane set.
    """
    found, common = _groups(tables)
    if not found:
        return nothing_left(tables.sweep, tables.table("groups"), "two trainings of one kind are")
    pairs = []
    for group, members in found:
        first, second = (tables.picture(key_of(member)).labels for member in members)
        errors = [
            f"training {number}\n{of['tested_on']} error {of['test_error']:.0%}" for number, of in enumerate(members, 1)
        ]
        beside = f"{group['text']}\nreproducibility {group['reproducibility']:.2f}"
        pairs.append(Pair((errors[0], errors[1]), (first, second), beside))
    return pairs_figure(pairs, plane_picture(tables.store, tables.plane_set, 0), title_of(tables.sweep, common))


def pictures_shown(tables: SweepTables) -> list[PictureKey]:
    """The pictures that `disagreement` shows."""
    return [key_of(member) for _, members in _groups(tables)[0] for member in members]


def _groups(tables: SweepTables) -> tuple[list[tuple[dict[str, Any], list[dict[str, Any]]]], str]:
    """Rows of `groups`, each with the rows of `models` of its first two trainings; and what they have in common."""
    rows, common = tables.representative_groups()
    several = rows[rows["n_models"] > 1].sort_values("reproducibility", kind="stable")
    learned = several[several["n_constant"] == 0]
    ranked = several if learned.empty else learned
    ends = ranked.iloc[[0, -1]] if len(ranked) > 1 else ranked
    return [(group, tables.members(group)[:2]) for group in records(ends)], common


def disagreement_of(
    store: Store, sweep: SweepConfig, models: tuple[ChosenModel, ChosenModel], plane_set: str, plane: int
) -> Figure:
    """Where two models of a run disagree on one plane. UserError if there is no such plane, or no label map."""
    check_plane(sweep.planes[choose_plane_set(sweep, plane_set)].count, plane)
    names, common = short_names(models)
    maps = []
    for model in models:
        with files_of_run(f"label map of {model.model_id} on {plane_set}", TRAINED):
            maps.append(shown_picture(store, PictureKey(model.model_id, model.epoch, plane_set, plane)).labels)
    title = ", ".join([common] * bool(common) + [f"plane {plane} of {plane_set}"])
    pair = Pair((names[0], names[1]), (maps[0], maps[1]))
    return pairs_figure([pair], plane_picture(store, plane_set, plane), title)


def pairs_figure(pairs: Sequence[Pair], picture: PlanePicture, title: str) -> Figure:
    """Draw one row for each pair, all on one plane: the first model, the second, and where they disagree."""
    height = PANEL * min(picture.aspect, 1.6)
    figure = Figure(figsize=(3 * PANEL + 0.5, (height + 0.45) * len(pairs) + 0.9), layout="constrained")
    grid = figure.subplots(len(pairs), 3, squeeze=False)
    maps = [one for pair in pairs for one in pair.maps]
    colours = colours_for(maps, len(picture.class_names))
    for row, pair in zip(grid, pairs, strict=True):
        draw_pair(row, pair, picture, colours)
    shown = sorted({int(label) for one in maps for label in np.unique(one)})
    class_legend(figure, picture.class_names, _CAPTION, shown, colours)
    figure.suptitle(lines(title, figure.get_figwidth(), STYLE["figure.titlesize"]))
    return figure


def draw_pair(row: Sequence[Axes], pair: Pair, picture: PlanePicture, colours: Colours) -> None:
    """Draw on three axes: the first map, the second, and the second where it differs."""
    first, second = on_one_grid(pair.maps)
    draw_regions(row[0], first, picture, colours)
    draw_regions(row[1], second, picture, colours)
    draw_difference(row[2], first, second, picture, colours)
    titles = [*pair.names, f"they differ on {(first != second).mean():.0%} of the points"]
    for axes, title in zip(row, titles, strict=True):
        axes.set_title(lines(title, PANEL, STYLE["axes.titlesize"]))
    row[0].set_ylabel(pair.beside, fontsize=9)


def draw_difference(
    axes: Axes,
    first: NDArray[np.uint8],
    second: NDArray[np.uint8],
    picture: PlanePicture,
    colours: Colours | None = None,
) -> None:
    """Draw the second map `[rows, columns]` where it differs from the first; grey where they agree."""
    axes.set_facecolor(SAME)
    draw_regions(axes, np.ma.masked_where(first == second, second), picture, colours)


DIFFERENCE = "right: what the second predicts where the first predicts another class; grey: both predict the same"
"""The caption of `draw_difference`."""
_CAPTION = f"{DIFFERENCE}\ncolours: predicted classes"
