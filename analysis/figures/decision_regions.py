"""Decision regions of trainings that differ in their seeds alone, and where they disagree: the paper's Figures 1, 3, 7
and 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..tables import read_table
from ..tables.recipes import at_best_rate, several_rates
from .files import Trainings, trainings_of
from .region_grid import PALER, Block, Panel, Row, draw_grid, transposed
from .regions import PlanePicture, plane_picture
from .style import counted, left_out_note, part_of, title_of
from .sweep_tables import MAX_SHOWN, groups_by_reproducibility, groups_on_curve, with_noise

MAX_COLUMNS = 12
MANY_COLUMNS = 6
"""Beside more columns there is room for three trainings and not four."""


@dataclass(frozen=True)
class Cell:
    """A group with its label noise."""

    group: dict[str, Any]
    trainings: Trainings

    @property
    def said(self) -> str:
        """Its error, and how far its trainings agree."""
        error = f"error {self.group['test_error']:.0%}"
        if pd.isna(self.group["reproducibility"]):
            return error
        same, low, high = (100 * self.group[f"reproducibility{end}"] for end in ("", "_low", "_high"))
        return f"{error}, agreement {same:.0f}%\u00a0[{low:.0f},\u00a0{high:.0f}]"


def decision_regions(store: Store, sweep: SweepConfig) -> Figure:
    """Columns: the telling points of a curve over width or epochs; without one at most six groups, in their order."""
    groups = _first_planes(store, sweep)
    trained = groups[groups["n_models"] > 0]
    on_curve = groups_on_curve(trained, read_table(store, "differences"))
    shown, common = on_curve or groups_by_reproducibility(trained, MAX_SHOWN)
    return _picture(store, sweep, groups, shown if on_curve else shown.sort_index(), common, on_curve=bool(on_curve))


def architectures(store: Store, sweep: SweepConfig) -> Figure:
    """Columns: architectures, options and recipes, at most twelve of them, from the most to the least reproducible."""
    groups = _first_planes(store, sweep)
    trained = groups[groups["n_models"] > 0]
    shown, common = groups_by_reproducibility(trained, MAX_COLUMNS)
    noisiest = trained[trained["label_noise"] == trained["label_noise"].max()]
    part = part_of(
        len(shown), len(at_best_rate(noisiest)), "kinds of networks, from the most to the least reproducible"
    )
    return _picture(store, sweep, groups, shown, common, part)


def _first_planes(store: Store, sweep: SweepConfig) -> pd.DataFrame:
    groups = read_table(store, "groups")
    return groups[groups["plane_set"] == next(iter(sweep.planes))]


def _picture(
    store: Store,
    sweep: SweepConfig,
    groups: pd.DataFrame,
    shown: pd.DataFrame,
    common: str,
    part: str = "",
    *,
    on_curve: bool = False,
) -> Figure:
    """A column a group; rows: trainings, and under them where all trainings of the group disagree; a block of rows for
    the least label noise, and one for the largest.

    Every picture shows the same plane. It is the first of the first plane set, so it was not chosen for its looks.
    """
    plane_set = next(iter(sweep.planes))
    plane = plane_picture(store, plane_set, plane=0)
    trained = groups[groups["n_models"] > 0]
    models = read_table(store, "models")
    noises = sorted({trained["label_noise"].min(), trained["label_noise"].max()})
    cells = {
        noise: [
            None if group is None else Cell(group, trainings_of(store, plane_set, group, models))
            for group in with_noise(trained if on_curve else at_best_rate(trained), shown, noise, any_rate=not on_curve)
        ]
        for noise in noises
    }
    cells = {noise: of_noise for noise, of_noise in cells.items() if any(of_noise)}
    drawn = [cell.trainings for of_noise in cells.values() for cell in of_noise if cell is not None]
    most = max(len(trainings.pictures) for trainings in drawn)
    counts = pd.Series([len(trainings.pictures) for trainings in drawn])
    rates = "; each at its best learning rate" * (not on_curve and several_rates(groups))
    room = 2 if len(cells) > 1 and len(shown) > 1 else 3 if len(shown) > MANY_COLUMNS else 4
    heads = {noise: f"label noise {noise:g}" if noise else "no label noise" for noise in cells}
    blocks = [
        Block(heads[noise] if len(cells) > 1 else "", _rows(plane, of_noise, min(most, room), shares=most > 1))
        for noise, of_noise in cells.items()
    ]
    columns = list(shown["text"])
    if len(columns) == 1:
        columns, blocks = transposed(blocks)
    about = [common] * bool(common) + [heads[noise] for noise in cells if len(cells) == 1 and noise]
    caption = (
        f"{part}the first plane of the set {plane_set}; {counted(counts, 'training')} of each{rates}"
        + f", of which {room} are shown" * (most > room)
        + f"; error: on {shown['tested_on'].iloc[0]} images"
        + f"; agreement: of two trainings, on {shown['n_planes'].iloc[0]} planes, with its 95 % interval; "
        "disagreement: share of all pairs of trainings that disagree on a point, from none (white) to all (black)"
        * (most > 1)
        + PALER * any(picture.confidence is not None for trainings in drawn for picture in trainings.pictures)
        + left_out_note(groups)
    )
    seen = "\none plane, as trainings see it that differ in their seeds alone" * (most > 1)
    return draw_grid(blocks, columns, title_of(sweep, ", ".join(about)) + seen, caption)


def _rows(plane: PlanePicture, cells: Sequence[Cell | None], count: int, *, shares: bool) -> list[Row]:
    """A row for each of the first `count` trainings, and one of what all disagree about."""
    rows = []
    for number in range(count):
        panels = [
            Panel(cell.trainings.pictures[number], cell.said * (number == 0))
            if cell is not None and number < len(cell.trainings.pictures)
            else None
            for cell in cells
        ]
        rows.append(Row(f"training {number + 1}", plane, panels))
    of_all = [None if cell is None or cell.trainings.shares is None else Panel(cell.trainings.shares) for cell in cells]
    return rows + [Row("disagreement", plane, of_all)] * shares
