"""How results depend on the planes, on the grid, and on each random stream."""

import itertools
from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..findings.curves import WIDTH, curves, evenly, representative_curves
from ..findings.sentences import STREAM_NAMES
from ..scores.groups import GROUP, alike, at_last_epoch, learned, name_parts, names_of, records
from ..tables.groups import COUNTS, CURVE, GRID
from ..tables.recipes import at_best_rate
from . import style
from .captions import FRAME, LABELS, left_out_note, part_of, range_text, title_of, unlearned_note
from .sweep_tables import SweepTables, finest_plane_set, told_apart

MAX_CURVES, MAX_POINTS, LEAST_GROUPS = 3, 48, 3
SCORES = ("fragmentation", "reproducibility")
FAR_APART = 5.0
"""From this ratio of the largest to the smallest count of regions on, their axis is logarithmic."""

Looks = Mapping[str, tuple[str, str]]


def plane_sets(tables: SweepTables) -> Figure:
    """Regions and reproducibility of each plane set, at the largest label noise: over width, or by group."""
    groups = tables.table("groups")
    noisiest = groups[groups["label_noise"] == groups[groups["n_models"] > 0]["label_noise"].max()]
    known = [score for score in SCORES if groups[score].notna().any()]
    every_look = ((colour, marker) for marker in style.MARKERS for colour in style.SERIES_COLOURS)
    looks = dict(zip(tables.sweep.planes, itertools.cycle(every_look), strict=False))
    draw = _over_width if curves(noisiest, WIDTH) else _by_group
    figure, part = draw(noisiest, known, looks)
    counts = groups.groupby("plane_set", sort=False)["n_planes"].max()
    keys = [style.key_line(f"{name} ({counts[name]})", *look, size=5) for name, look in looks.items()]
    figure.legend(handles=keys, loc="outside right center", title="planes")
    noise = f"label noise {noisiest['label_noise'].iloc[0]:g}" * bool(groups["label_noise"].max())
    trained = noisiest[noisiest["n_models"] > 0]
    caption = (
        f"{part}{range_text(trained['n_models'])} trainings a point; 95 % intervals over trainings and planes; "
        f"in brackets: number of planes{unlearned_note(trained, FRAME)}{left_out_note(noisiest)}"
    )
    _, common = told_apart(name_parts(trained.drop_duplicates(GROUP)))
    return style.inscribe(figure, title_of("plane_sets", tables.sweep, *common, noise), caption)


def _over_width(groups: pd.DataFrame, known: Sequence[str], looks: Looks) -> tuple[Figure, str]:
    found = curves(groups[groups["plane_set"] == next(iter(looks))], WIDTH)
    drawn = representative_curves(found, MAX_CURVES)
    width, height = 4.6 * len(known) + 1.6, 3.6 * len(drawn) + 0.9
    figure, grid = style.panels(len(drawn), len(known), width, height, sharex=True, sharey="col")
    for row, curve in zip(grid, drawn, strict=True):
        same = alike(groups, curve.key, CURVE)
        of_curve = at_last_epoch(same[same["n_models"] > 0]).sort_values("width")
        for axes, score in zip(row, known, strict=True):
            for place, (name, (colour, marker)) in enumerate(looks.items()):
                of_set, at = of_curve[of_curve["plane_set"] == name], (place, len(looks))
                style.score_line(axes, of_set, "width", score, colour, name, marker=marker, at=at)
            _label_axes(axes, score, of_curve)
            if len(drawn) > 1:
                axes.set_title(curve.name)
    ticks = style.spaced(sorted({int(width) for curve in drawn for width in curve.rows["width"]}), room=0.62)
    for axes in grid[-1]:
        axes.set_xlabel("width")
        style.log_ticks(axes, ticks)
    return figure, part_of(len(drawn), len(found), "curves")


def _by_group(groups: pd.DataFrame, known: Sequence[str], looks: Looks) -> tuple[Figure, str]:
    best = at_best_rate(groups)
    best = best[best["n_models"] > 0]
    first = best[best["plane_set"] == next(iter(looks))]
    first = first.assign(name=names_of(first))
    shown = first.iloc[evenly(len(first), max(MAX_POINTS // len(looks), LEAST_GROUPS))]
    margin = 0.075 * shown["name"].str.len().max()
    tall = max(0.5, 0.16 * len(looks) + 0.1) * len(shown) + 1.6
    figure, (row,) = style.panels(1, len(known), 3.9 * len(known) + margin + 1.6, max(3.2, tall), sharey=True)
    for axes, score in zip(row, known, strict=True):
        for place, group in enumerate(records(shown)):
            of_group = alike(best, group)
            for index, (name, (colour, marker)) in enumerate(looks.items()):
                height = place + 0.7 * ((index + 0.5) / len(looks) - 0.5)
                (cell,) = records(of_group[of_group["plane_set"] == name])
                style.interval_point(axes, cell, score, height, colour, marker)
        _label_axes(axes, score, best, along="x")
        axes.set_yticks(range(len(shown)), labels=shown["name"], fontsize=8.5)
        for between in range(1, len(shown)):
            axes.axhline(between - 0.5, color="0.75", linewidth=0.8)
        axes.grid(visible=False, axis="y")
    row[0].set_ylim(len(shown) - 0.5, -0.5)
    return figure, part_of(len(shown), len(first), "groups")


def _label_axes(axes: Axes, score: str, every: pd.DataFrame, along: str = "y") -> None:
    rows = learned(every)
    style.plain(axes)
    axes.set(**{f"{along}label": LABELS[score]})
    low, high = style.limits([(rows, score)])
    if score == "reproducibility":
        axes.set(**{f"{along}lim": (max(0.0, low), 1.0)})
        return
    far_apart = rows[score].max() > FAR_APART * rows[score].min()
    axes.set(**{f"{along}scale": "log" if far_apart else "linear"})
    axes.set(**{f"{along}lim": (max(low, 0.9) if far_apart else low, high)})


def resolution(tables: SweepTables) -> Figure:
    """Regions, and large regions with their limit, over the resolution: one colour for each representative group."""
    groups, common = tables.representative_groups()
    table = tables.table("resolution")
    table = table[table["plane_set"] == finest_plane_set(tables.sweep)]
    rows = groups[[*GROUP, "text"]].merge(table, on=GROUP)
    points = sorted(rows["resolution"].dropna().astype(int).unique())
    limit = points[-1] * (points[-1] - 1) / (points[-2] - 1)
    figure, (row,) = style.panels(1, 2, 10.8, 4.6)
    texts = list(dict.fromkeys(rows["text"]))
    for index, (text, colour) in enumerate(zip(texts, style.SERIES_COLOURS, strict=False)):
        of_group = rows[rows["text"] == text]
        grids = of_group[of_group["kind"] == GRID].astype({"resolution": float})
        for axes, score in zip(row, COUNTS, strict=True):
            style.score_line(axes, grids, "resolution", score, colour, text, at=(index, len(texts)))
        for at_limit in records(of_group[of_group["kind"] != GRID]):
            place = limit * 1.06 ** (index - (len(texts) - 1) / 2)
            style.interval_point(row[1], at_limit, place, "large_regions", colour, "D")
    for axes, score in zip(row, COUNTS, strict=True):
        axes.set_ylim(style.limits([(rows, score)]))
        axes.set_ylabel(LABELS[score])
        axes.set_xlabel("grid points on a side")
        style.plain(axes)
    style.log_ticks(row[0], points)
    style.log_ticks(row[1], [*points, limit], [*map(str, points), "limit"])
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside right center")
    caption = (
        f"{range_text(rows['n_models'])} trainings a group, {range_text(rows['n_planes'])} {rows['plane_set'].iloc[0]} "
        f"planes; large: at least {100 * tables.sweep.minimum_region_share:g} % of the plane's points; "
        "limit: extrapolated from the two finest grids; 95 % intervals over trainings and planes, cut at the frame"
    )
    return style.inscribe(figure, title_of("resolution", tables.sweep, common), caption)


MAX_PANELS, ABREAST = 6, 3
SHARES = {"total": (style.SERIES_COLOURS[0], "o", -0.12), "own": (style.SERIES_COLOURS[1], "s", 0.12)}
"""Colour, marker and height in the row, for each share."""


def streams(tables: SweepTables) -> Figure:
    """A panel for each group, at most `MAX_PANELS`, with one row for each stream: its two shares with intervals."""
    table = at_last_epoch(tables.first("streams"))
    if table.empty:
        return style.nothing_left(tables.table("groups"), "trainings that differ in one stream alone are")
    groups = table.drop_duplicates(GROUP, ignore_index=True)
    noises = [f"label noise {noise:g}" for noise in groups["label_noise"]]
    parts = [[*own, noise] for own, noise in zip(name_parts(groups), noises, strict=True)]
    groups = groups.assign(name=[", ".join(own) for own in told_apart(parts)[0]])
    shown = groups.iloc[evenly(len(groups), MAX_PANELS)]
    abreast = min(len(shown), ABREAST)
    deep = -(-len(shown) // ABREAST)
    rows = table.groupby(GROUP)["stream"].size().max()
    width, height = max(8.6, 3.2 * abreast + 2.2), deep * (0.55 * rows + 0.7) + 1.5
    figure, grid = style.panels(deep, abreast, width, height, sharex=True, sharey=True)
    figure.set_layout_engine("constrained", wspace=0.08)
    for axes, group in zip(grid.flat, records(shown), strict=False):
        shares = alike(table, group)
        for place, row in enumerate(records(shares)):
            for kind, (colour, marker, height) in SHARES.items():
                style.interval_point(axes, row, f"{kind}_share", place + height, colour, marker)
        labels = ["\n+ ".join(STREAM_NAMES[stream] for stream in together) for together in shares["stream"]]
        axes.set_yticks(range(len(shares)), labels=labels)
        axes.set(xlim=(-0.03, 1.03), ylim=(-0.5, len(shares) - 0.5))
        axes.xaxis.set_major_formatter("{x:.0%}")
        style.plain(axes)
        axes.set_title(f"{group['name']}\n{group['disagreement']:.0%} disagreement")
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    grid[0, 0].invert_yaxis()
    keys = [style.key_line(f"{kind} share", colour, mark, "none", 6) for kind, (colour, mark, _) in SHARES.items()]
    figure.legend(handles=keys, loc="outside right center")
    said = {text for kind in SHARES for text in table[f"{kind}_share_interval_covers"]} - {"nothing"}
    covers = " or ".join(sorted(text.replace("models", "seeds") for text in said)) or "nothing"
    caption = (
        "total: disagreement of trainings that differ in this stream alone; own: what goes away if they differ in all\n"
        "streams but this; both as shares of the disagreement of trainings that differ in all\n"
        f"{part_of(len(shown), len(groups), 'groups')}{range_text(table['n_models'])} trainings a group, "
        f"{range_text(table['n_seeds'])} seeds a stream, {range_text(table['n_planes'])} planes; "
        f"bars: 95 % intervals over {covers}"
    )
    return style.inscribe(figure, title_of("streams", tables.sweep), caption)
