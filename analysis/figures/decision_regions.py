"""Decision regions of trainings that differ only in their seeds, and where they disagree: the paper's Figures 1 to 3,
7 and 8."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dbviz_ray.config import Seeds
from dbviz_ray.formatting import score_cell

from ..findings.curves import evenly
from ..scores.groups import GROUP, NETWORK, Group, alike, records
from ..tables.recipes import at_best_rate
from .captions import left_out_note, part_of, range_text, rates_note, title_of, unlearned_note
from .regions import Panel, PlanePicture, Row, draw_grid, plane_picture
from .sweep_tables import SweepTables, disagreeing_shares, groups_by_reproducibility, groups_on_curve

MAX_COLUMNS = 12
MANY_COLUMNS = 6
"""With more columns there is space for three trainings instead of four."""

Cell = tuple[list[Panel], Panel | None]
"""Of a group: all its trainings on one plane, and where they disagree (`disagreeing_shares`), None for a single one."""


def decision_regions(tables: SweepTables) -> Figure:
    """Columns: representative points of a curve over width or epochs; without a curve at most six groups."""
    trained = tables.trained()
    several = trained["label_noise"].nunique() > 1
    on_curve = groups_on_curve(trained, tables.table("peaks"), beside_others=several)
    if on_curve:
        fixed = [column for column in GROUP if column != "label_noise"]
        return _picture("decision_regions", tables, trained, *on_curve, fixed=fixed)
    shown, common = groups_by_reproducibility(trained)
    rates = rates_note(tables.first("groups"))
    return _picture("decision_regions", tables, at_best_rate(trained), shown.sort_index(), common, rates)


def architectures(tables: SweepTables) -> Figure:
    """Columns: architectures, options and recipes, at most twelve, from the most to the least reproducible."""
    best = at_best_rate(tables.trained())
    shown, common = groups_by_reproducibility(best, MAX_COLUMNS)
    found = (best["label_noise"] == best["label_noise"].max()).sum()
    part = part_of(len(shown), found, "kinds of networks, from the most to the least reproducible")
    return _picture("architectures", tables, best, shown, common, rates_note(tables.first("groups")), part)


KIND_OF_NETWORK = [*NETWORK, "recipe", "epoch"]
OF_CURVE = "no column shows points of the curve where a training predicts one class for every image"
OF_KINDS = "last: those with a training that predicts one class for every image"
"""What becomes of groups whose trainings did not all learn something."""


def _picture(
    name: str,
    tables: SweepTables,
    among: pd.DataFrame,
    shown: pd.DataFrame,
    common: str,
    rates: str = "",
    part: str = "",
    fixed: Sequence[str] = KIND_OF_NETWORK,
) -> Figure:
    """The groups of `shown` in columns, with the groups of other label noises that have the same values in `fixed`.

    Of the least and of the largest label noise a row for each training, and one where all trainings disagree. All
    pictures show the first plane of the first plane set.
    """
    plane = plane_picture(tables.store, tables.plane_set, 0)
    cells: dict[float, list[Cell]] = {}
    for noise in sorted({among["label_noise"].min(), among["label_noise"].max()}):
        of_noise = among[among["label_noise"] == noise]
        found = [records(alike(of_noise, group, fixed)) for group in records(shown)]
        if any(found):
            cells[noise] = [_cell(tables, groups[0]) if groups else ([], None) for groups in found]
    counts = pd.Series([len(panels) for of_noise in cells.values() for panels, _ in of_noise if panels])
    most, several = int(counts.max()), len(cells) > 1
    room = 2 if several and len(shown) > 1 else 3 if len(shown) > MANY_COLUMNS else 4
    blocks = [
        ((f"label noise {noise:g}" if noise else "no label noise") * several, _rows(plane, of_noise, min(most, room)))
        for noise, of_noise in cells.items()
    ]
    columns = list(shown["text"])
    rows: list[Row | str] = []
    for heading, block in blocks:
        rows += [heading] * bool(heading)
        rows += block
    if len(columns) == 1:
        columns = [row.name for row in blocks[0][1]]
        rows = [Row(heading, plane, [row.panels[0] for row in block]) for heading, block in blocks]
    caption = (
        f"{part}the first plane of the set {tables.plane_set}; {range_text(counts)} training{'s' * (most > 1)} of each"
        f"{rates}"
        + f", of which {room} are shown" * (most > room)
        + f"; error: on {shown['tested_on'].iloc[0]} images"
        + f"; agreement: of two trainings, on {shown['n_planes'].iloc[0]} planes, with its 95 % interval; "
        "disagreement: share of all pairs of trainings that disagree on a point, from none (white) to all (black)"
        * (most > 1)
        + "; one colour everywhere: a training that predicts one class on this plane"
        + unlearned_note(among, OF_CURVE if fixed is not KIND_OF_NETWORK else OF_KINDS)
        + left_out_note(tables.first("groups"))
    )
    noises = [f"label noise {noise:g}" for noise in cells if noise and not several]
    return draw_grid(rows, columns, title_of(name, tables.sweep, common, *noises), caption)


def _cell(tables: SweepTables, group: dict[str, Any]) -> Cell:
    """The cell of a row of `groups` on the first plane; above its first training error and agreement."""
    error = f"error {group['test_error']:.0%}"
    members = tables.members(group)
    pictures = [tables.picture(member) for member in members]
    if len(pictures) < 2:
        return [Panel(picture, error) for picture in pictures], None
    same, low, high = (100 * group[f"reproducibility{end}"] for end in ("", "_low", "_high"))
    agreement = f", agreement {same:.0f}%\u00a0[{low:.0f},\u00a0{high:.0f}]" * bool(np.isfinite(same))
    seeds = tuple(
        Seeds(**{name: int(member[at]) for name in Seeds.model_fields if pd.notna(member[at := f"{name}_seed"])})
        for member in members
    )
    pairs = Group({}, np.arange(len(members)), seeds).independent_pairs.mask
    shares = disagreeing_shares([picture.labels for picture in pictures], pairs)
    return [Panel(pictures[0], error + agreement), *map(Panel, pictures[1:])], Panel(shares)


def _rows(plane: PlanePicture, cells: Sequence[Cell], count: int) -> list[Row]:
    """A row for each of the first `count` trainings and, of several, one that shows where all trainings disagree."""
    rows = []
    for number in range(count):
        panels = [of_group[number] if number < len(of_group) else None for of_group, _ in cells]
        rows.append(Row(f"training {number + 1}", plane, panels))
    return rows + [Row("disagreement", plane, [apart for _, apart in cells])] * (count > 1)


MAX_GROUPS, MAX_SETS = 3, 8
"""Groups in `off_manifold`."""
TRAININGS = {1: 4, 2: 3, 3: 2}
"""Trainings of each group in `off_manifold`, by the number of groups."""


def off_manifold(tables: SweepTables) -> Figure:
    """The first plane of each set, off the data and natural ones. Columns: trainings of at most three groups.

    Above the first panel of each group stands its number of regions per plane of the set.
    """
    trained, best = tables.table("groups"), at_best_rate(tables.trained())
    trained = trained[trained["n_models"] > 0]
    shown, common = groups_by_reproducibility(best, MAX_GROUPS)
    count = min(TRAININGS[len(shown)], int(shown["n_models"].max()))
    columns = [
        "\n".join([*[group["text"]] * (len(shown) > 1), f"training {number + 1}"])
        for group in records(shown)
        for number in range(count)
    ]
    sets = [list(tables.sweep.planes)[place] for place in evenly(len(tables.sweep.planes), MAX_SETS)]
    rows = []
    for plane_set in sets:
        panels: list[Panel | None] = []
        of_set = trained[trained["plane_set"] == plane_set]
        for group in records(shown):
            pictures = [tables.picture(member) for member in tables.members(group, plane_set)[:count]]
            counted = alike(of_set, group).dropna(subset="fragmentation")
            regions = "".join(f"{score_cell(row, 'fragmentation', 1)} regions" for row in records(counted))
            panels += [Panel(picture, regions * (number == 0)) for number, picture in enumerate(pictures)]
            panels += [None] * (count - len(pictures))
        rows.append(Row(plane_set.replace("_", " "), plane_picture(tables.store, plane_set, 0), panels))
    noise = shown["label_noise"].iloc[0]
    caption = (
        f"{part_of(len(shown), (best['label_noise'] == noise).sum(), 'kinds of networks')}"
        f"{part_of(len(rows), len(tables.sweep.planes), 'plane sets')}the first plane of each set, and over "
        f"it how many regions a plane of the set has, with a 95 % interval, over {range_text(shown['n_models'])} "
        f"trainings and {range_text(trained['n_planes'])} planes" + left_out_note(tables.table("groups"))
    )
    title = title_of("off_manifold", tables.sweep, common, f"label noise {noise:g}" * bool(noise))
    return draw_grid(rows, columns, title, caption)
