"""How much each random stream contributes to the disagreement: its total and its own share."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..findings.curves import evenly
from ..findings.sentences import STREAM_NAMES
from ..scores.groups import GROUP, at_last_epoch, name_parts, records
from .style import (
    SERIES_COLOURS,
    inscribe,
    interval_point,
    key_line,
    nothing_left,
    panels,
    part_of,
    plain,
    range_text,
    title_of,
)
from .sweep_tables import SweepTables, alike, told_apart

MAX_PANELS, ABREAST = 6, 3
KINDS = {"total": (SERIES_COLOURS[0], "o", -0.12), "own": (SERIES_COLOURS[1], "s", 0.12)}
"""Colour, marker and height in the row, for each share."""


def streams(tables: SweepTables) -> Figure:
    """A panel for each group, at most `MAX_PANELS`, with one row for each stream: its two shares and their intervals.

    Drawn from the first plane set, at the last epoch.
    """
    table = at_last_epoch(tables.first("streams"))
    if table.empty:
        return nothing_left(tables.sweep, tables.table("groups"), "trainings that differ in one stream alone are")
    groups = table.drop_duplicates(GROUP, ignore_index=True)
    groups = groups.assign(name=_names(groups))
    shown = groups.iloc[evenly(len(groups), MAX_PANELS)]
    abreast = min(len(shown), ABREAST)
    deep = -(-len(shown) // ABREAST)
    rows = table.groupby(GROUP)["stream"].size().max()
    width, height = max(8.6, 3.2 * abreast + 2.2), deep * (0.55 * rows + 0.7) + 1.5
    layout = ConstrainedLayoutEngine(wspace=0.08)
    figure, grid = panels(deep, abreast, width, height, layout, sharex=True, sharey=True)
    for axes, group in zip(grid.flat, records(shown), strict=False):
        _draw(axes, alike(table, group))
        axes.set_title(f"{group['name']}\n{group['disagreement']:.0%} disagreement")
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    grid[0, 0].invert_yaxis()
    handles = [key_line(f"{kind} share", colour, marker, "none", 6) for kind, (colour, marker, _) in KINDS.items()]
    figure.legend(handles=handles, loc="outside right center")
    said = {text for kind in KINDS for text in table[f"{kind}_share_interval_covers"]} - {"nothing"}
    covers = " or ".join(sorted(text.replace("models", "seeds") for text in said)) or "nothing"
    caption = (
        "total: disagreement of trainings that differ in this stream alone; own: what goes away if they differ in all\n"
        "streams but this; both as shares of the disagreement of trainings that differ in all\n"
        f"{part_of(len(shown), len(groups), 'groups')}{range_text(table['n_models'])} trainings a group, "
        f"{range_text(table['n_seeds'])} seeds a stream, {range_text(table['n_planes'])} planes; "
        f"bars: 95 % intervals over {covers}"
    )
    inscribe(figure, title_of(tables.sweep), caption)
    return figure


def _names(groups: pd.DataFrame) -> list[str]:
    """Names and label noise of groups, without the parts that all have in common."""
    noises = groups["label_noise"]
    parts = [[*own, f"label noise {noise:g}"] for own, noise in zip(name_parts(groups), noises, strict=True)]
    return [", ".join(own) for own in told_apart(parts)[0]]


def _draw(axes: Axes, rows: pd.DataFrame) -> None:
    for place, row in enumerate(records(rows)):
        for kind, (colour, marker, height) in KINDS.items():
            interval_point(axes, row, f"{kind}_share", place + height, colour, marker)
    labels = ["\n+ ".join(STREAM_NAMES[stream] for stream in together) for together in rows["stream"]]
    axes.set_yticks(range(len(rows)), labels=labels)
    plain(axes)
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.xaxis.set_major_formatter("{x:.0%}")
