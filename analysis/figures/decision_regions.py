"""Decision regions of trainings that differ only in their seeds, and where they disagree: the paper's Figures 1 to 3,
7 and 8."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dbviz_ray.store import PictureKey

from ..findings.curves import evenly
from ..scores.groups import records
from ..tables.recipes import at_best_rate, several_rates
from .region_grid import PALER, Block, Panel, Row, draw_grid, transposed
from .regions import PlanePicture, plane_picture
from .style import counted, left_out_note, part_of, range_text, title_of
from .sweep_tables import (
    MAX_SHOWN,
    SweepTables,
    Trainings,
    groups_by_reproducibility,
    groups_on_curve,
    key_of,
    same_group,
    trainings_of,
    with_noise,
)

MAX_COLUMNS = 12
MANY_COLUMNS = 6
"""With more columns there is space for three trainings instead of four."""
MAX_GROUPS, MAX_SETS = 3, 8
"""Groups in `off_manifold`."""
TRAININGS = {1: 4, 2: 3, 3: 2}
"""Trainings of each group in `off_manifold`, by the number of groups."""


@dataclass(frozen=True)
class Columns:
    """The groups that a figure shows, one in each column."""

    shown: pd.DataFrame
    """Rows of `groups`, called by the column `text`."""
    common: str
    """What they have in common."""
    on_curve: bool
    noises: dict[float, list[dict[str, Any] | None]]
    """For each label noise shown, the group of each column; None where there is none."""

    @property
    def groups(self) -> list[dict[str, Any]]:
        """All groups whose trainings are shown."""
        return [group for of_noise in self.noises.values() for group in of_noise if group is not None]


def decision_regions(tables: SweepTables) -> Figure:
    """Columns: representative points of a curve over width or epochs; without a curve at most six groups."""
    return _picture(tables, _columns(tables))


def architectures(tables: SweepTables) -> Figure:
    """Columns: architectures, options and recipes, at most twelve, from the most to the least reproducible."""
    columns, trained = _most_reproducible(tables), tables.trained()
    found = len(at_best_rate(trained[trained["label_noise"] == trained["label_noise"].max()]))
    part = part_of(len(columns.shown), found, "kinds of networks, from the most to the least reproducible")
    return _picture(tables, columns, part)


def pictures_of_decision_regions(tables: SweepTables) -> list[PictureKey]:
    """The pictures that `decision_regions` shows."""
    return _keys(tables, _columns(tables).groups)


def pictures_of_architectures(tables: SweepTables) -> list[PictureKey]:
    """The pictures that `architectures` shows."""
    return _keys(tables, _most_reproducible(tables).groups)


def _keys(tables: SweepTables, groups: Iterable[dict[str, Any]]) -> list[PictureKey]:
    """All trainings of the groups: the rows of disagreement are about all of them."""
    return [key_of(member) for group in groups for member in tables.members(group)]


def _columns(tables: SweepTables) -> Columns:
    trained = tables.trained()
    on_curve = groups_on_curve(trained, tables.table("differences"))
    if on_curve:
        return _with_noises(trained, *on_curve, on_curve=True)
    shown, common = groups_by_reproducibility(trained, MAX_SHOWN)
    return _with_noises(trained, shown.sort_index(), common, on_curve=False)


def _most_reproducible(tables: SweepTables) -> Columns:
    trained = tables.trained()
    return _with_noises(trained, *groups_by_reproducibility(trained, MAX_COLUMNS), on_curve=False)


def _with_noises(trained: pd.DataFrame, shown: pd.DataFrame, common: str, *, on_curve: bool) -> Columns:
    """The groups shown at the least and at the largest label noise."""
    among = trained if on_curve else at_best_rate(trained)
    noises = sorted({trained["label_noise"].min(), trained["label_noise"].max()})
    groups = {noise: with_noise(among, shown, noise, any_rate=not on_curve) for noise in noises}
    return Columns(shown, common, on_curve, {noise: of_noise for noise, of_noise in groups.items() if any(of_noise)})


@dataclass(frozen=True)
class Cell:
    """A group with its trainings."""

    group: dict[str, Any]
    trainings: Trainings

    @property
    def text(self) -> str:
        """Its error, and how much its trainings agree."""
        error = f"error {self.group['test_error']:.0%}"
        if pd.isna(self.group["reproducibility"]):
            return error
        same, low, high = (100 * self.group[f"reproducibility{end}"] for end in ("", "_low", "_high"))
        return f"{error}, agreement {same:.0f}%\u00a0[{low:.0f},\u00a0{high:.0f}]"


def _picture(tables: SweepTables, columns: Columns, part: str = "") -> Figure:
    """A block of rows for each label noise: a row for each training, and one where all trainings disagree.

    All pictures show the first plane of the first plane set.
    """
    groups, shown = tables.first("groups"), columns.shown
    plane = plane_picture(tables.store, tables.plane_set, 0)
    cells = {
        noise: [None if group is None else Cell(group, trainings_of(tables, group)) for group in of_noise]
        for noise, of_noise in columns.noises.items()
    }
    drawn = [cell.trainings for of_noise in cells.values() for cell in of_noise if cell is not None]
    counts = pd.Series([len(trainings.pictures) for trainings in drawn])
    most = int(counts.max())
    rates = "; each at its best learning rate" * (not columns.on_curve and several_rates(groups))
    room = 2 if len(cells) > 1 and len(shown) > 1 else 3 if len(shown) > MANY_COLUMNS else 4
    heads = {noise: f"label noise {noise:g}" if noise else "no label noise" for noise in cells}
    blocks = [
        Block(heads[noise] if len(cells) > 1 else "", _rows(plane, of_noise, min(most, room), shares=most > 1))
        for noise, of_noise in cells.items()
    ]
    names = list(shown["text"])
    if len(names) == 1:
        names, blocks = transposed(blocks)
    about = [columns.common] * bool(columns.common) + [heads[noise] for noise in cells if len(cells) == 1 and noise]
    caption = (
        f"{part}the first plane of the set {tables.plane_set}; {counted(counts, 'training')} of each{rates}"
        + f", of which {room} are shown" * (most > room)
        + f"; error: on {shown['tested_on'].iloc[0]} images"
        + f"; agreement: of two trainings, on {shown['n_planes'].iloc[0]} planes, with its 95 % interval; "
        "disagreement: share of all pairs of trainings that disagree on a point, from none (white) to all (black)"
        * (most > 1)
        + PALER * any(picture.confidence is not None for trainings in drawn for picture in trainings.pictures)
        + left_out_note(groups)
    )
    seen = "\none plane in trainings that differ only in their seeds" * (most > 1)
    return draw_grid(blocks, names, title_of(tables.sweep, ", ".join(about)) + seen, caption)


def _rows(plane: PlanePicture, cells: Sequence[Cell | None], count: int, *, shares: bool) -> list[Row]:
    """A row for each of the first `count` trainings, and one that shows where all of them disagree."""
    rows = []
    for number in range(count):
        panels = [
            Panel(cell.trainings.pictures[number], cell.text * (number == 0))
            if cell is not None and number < len(cell.trainings.pictures)
            else None
            for cell in cells
        ]
        rows.append(Row(f"training {number + 1}", plane, panels))
    of_all = [None if cell is None or cell.trainings.shares is None else Panel(cell.trainings.shares) for cell in cells]
    return rows + [Row("disagreement", plane, of_all)] * shares


def off_manifold(tables: SweepTables) -> Figure:
    """Planes off the data beside natural ones. Rows: plane sets; columns: trainings of at most three groups.

    The groups have the largest label noise. Above the first panel of each group stands its number of regions per plane
    of the set. Each row shows the first plane of its set.
    """
    trained, first = tables.table("groups"), tables.trained()
    trained = trained[trained["n_models"] > 0]
    shown, common, count = _off_manifold_groups(tables)
    columns = [
        f"{group['text']}\ntraining {number + 1}" if len(shown) > 1 else f"training {number + 1}"
        for group in records(shown)
        for number in range(count)
    ]
    rows, confident = [], False
    for plane_set in _off_manifold_sets(tables):
        panels: list[Panel | None] = []
        for group in records(shown):
            pictures = [tables.picture(key_of(member)) for member in tables.members(group, plane_set)[:count]]
            confident |= any(picture.confidence is not None for picture in pictures)
            said = _regions(same_group(trained, group, plane_set))
            panels += [Panel(picture, said * (number == 0)) for number, picture in enumerate(pictures)]
            panels += [None] * (count - len(pictures))
        rows.append(Row(plane_set.replace("_", " "), plane_picture(tables.store, plane_set, 0), panels))
    noisiest = first[first["label_noise"] == first["label_noise"].max()]
    caption = (
        f"{part_of(len(shown), len(at_best_rate(noisiest)), 'kinds of networks')}"
        f"{part_of(len(rows), len(tables.sweep.planes), 'plane sets')}the first plane of each set, and over "
        f"it how many regions a plane of the set has, with a 95 % interval, over {range_text(shown['n_models'])} "
        f"trainings and {range_text(trained['n_planes'])} planes"
        + PALER * confident
        + left_out_note(tables.table("groups"))
    )
    noise = shown["label_noise"].iloc[0]
    about = ", ".join([common] * bool(common) + [f"label noise {noise:g}"] * bool(noise))
    title = f"{title_of(tables.sweep, about)}\nplanes through images and off them"
    return draw_grid([Block("", rows)], columns, title, caption)


def pictures_of_off_manifold(tables: SweepTables) -> list[PictureKey]:
    """The pictures that `off_manifold` shows."""
    shown, _, count = _off_manifold_groups(tables)
    sets = _off_manifold_sets(tables)
    return [key_of(m) for name in sets for group in records(shown) for m in tables.members(group, name)[:count]]


def _off_manifold_groups(tables: SweepTables) -> tuple[pd.DataFrame, str, int]:
    """The groups, what they have in common, and how many trainings of each are shown."""
    shown, common = groups_by_reproducibility(tables.trained(), MAX_GROUPS)
    return shown, common, min(TRAININGS[len(shown)], int(shown["n_models"].max()))


def _off_manifold_sets(tables: SweepTables) -> list[str]:
    names = list(tables.sweep.planes)
    return [names[place] for place in evenly(len(names), MAX_SETS)]


def _regions(rows: pd.DataFrame) -> str:
    for row in records(rows[rows["fragmentation"].notna()]):
        low, value, high = (f"{row[f'fragmentation{end}']:.1f}" for end in ("_low", "", "_high"))
        return f"{value} [{low}, {high}] regions"
    return ""
