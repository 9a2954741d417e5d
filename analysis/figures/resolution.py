"""Regions on coarser and finer grids: whether a grid is fine enough to count them."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..scores.groups import GROUP, records
from ..tables import read_table
from ..tables.resolution import GRID
from .style import SERIES_COLOURS, band, inscribe, interval_point, limits, plain, range_text, title_of
from .sweep_tables import finest_plane_set, shown_groups

SCORES = {"fragmentation": "regions per plane", "large_regions": "large regions per plane"}


def resolution(store: Store, sweep: SweepConfig) -> Figure:
    """Two panels over grid points on a side, a colour a telling group: regions, and large ones with their limit.

    From the rows of `resolution` of `finest_plane_set`.
    """
    groups, common = shown_groups(store, sweep)
    table = read_table(store, "resolution")
    table = table[table["plane_set"] == finest_plane_set(sweep)]
    rows = groups[[*GROUP, "text"]].merge(table, on=GROUP)
    points = sorted(rows["resolution"].dropna().astype(int).unique())
    limit = points[-1] * (points[-1] - 1) / (points[-2] - 1)
    figure = Figure(figsize=(10.8, 4.6), layout="constrained")
    panels = figure.subplots(1, 2)
    texts = list(dict.fromkeys(rows["text"]))
    for index, (text, colour) in enumerate(zip(texts, SERIES_COLOURS, strict=False)):
        of_group = rows[rows["text"] == text]
        grids = of_group[of_group["kind"] == GRID].astype({"resolution": float})
        for axes, score in zip(panels, SCORES, strict=True):
            band(axes, grids, "resolution", score, colour, text)
        for row in records(of_group[of_group["kind"] != GRID]):
            place = limit * 1.06 ** (index - (len(texts) - 1) / 2)
            interval_point(panels[1], row, "large_regions", place, colour, "D", upright=True)
    for axes, (score, label) in zip(panels, SCORES.items(), strict=True):
        axes.set_ylim(limits([(rows, score)]))
        axes.set_ylabel(label)
        axes.set_xlabel("grid points on a side")
        plain(axes)
    _ticks(panels[0], points, [str(count) for count in points])
    _ticks(panels[1], [*points, limit], [*(str(count) for count in points), "limit"])
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", fontsize=8.5, frameon=False)
    inscribe(figure, title_of(sweep, common), _caption(rows, sweep))
    return figure


def _ticks(axes: Axes, places: list[float], labels: list[str]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, labels=labels)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _caption(rows: pd.DataFrame, sweep: SweepConfig) -> str:
    return (
        f"{range_text(rows['n_models'])} trainings a group, {range_text(rows['n_planes'])} {rows['plane_set'].iloc[0]} "
        f"planes; large: at least {100 * sweep.minimum_region_share:g} % of the plane's points;\n"
        "limit: extrapolated from the two finest grids; bands and bars: 95 % intervals over trainings and planes"
    )
