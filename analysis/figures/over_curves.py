"""Scores over width and over epochs, the paper's Figures 6, 9 and 10, and over both, as in Nakkiran et al., arXiv
1912.02292, Figure 2."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from ..findings.curves import ALL_LABELS, EPOCH, PEAK, SMALL_ERROR, WIDTH, Axis, Curve, curves, representative_curves
from ..scores.groups import NAMING, learned, names_of
from . import style
from .captions import FRAME, LABELS, counts_text, left_out_note, part_of, title_of, unlearned_note
from .sweep_tables import SweepTables, surfaces, told_apart

MAX_CURVES = 4
Look = dict[str, Any]
TRAINING, MISLABELLED = Look(line="--"), Look(marker="s", face="white")
"""How second scores are drawn. A style of line has one meaning in all panels."""
PANELS: dict[str, tuple[str, Look]] = {
    "test_error": ("train_error", TRAINING),
    "false_labels_learned": ("", {}),
    "fragmentation": ("", {}),
    "reproducibility": ("", {}),
    "margin": ("margin_mislabelled", MISLABELLED),
}
"""The panels by their scores, and the second score of each."""
IF_KNOWN = ("false_labels_learned", "margin")
"""Panels that a sweep may lack."""
THRESHOLDS = {
    "small_train_error": (":", f"training error at most {SMALL_ERROR:.0%}"),
    "interpolation_threshold": ("-.", "interpolation threshold"),
}
"""Of curves: how their vertical lines look, and what they are called."""


def double_descent(tables: SweepTables) -> Figure:
    """Scores over width at the last epoch."""
    return _over("double_descent", WIDTH, tables)


def epochs(tables: SweepTables) -> Figure:
    """Scores over the kept epochs, at each width."""
    return _over("epochs", EPOCH, tables)


def _over(name: str, axis: Axis, tables: SweepTables) -> Figure:
    """The `PANELS` on a log axis, with a colour for each curve; vertical lines mark `THRESHOLDS`."""
    table = tables.first("groups")
    found = curves(table, axis, tables.table("peaks"))
    if not found:
        return style.nothing_left(table, f"curve over several {axis.column}s is")
    drawn = representative_curves(found, MAX_CURVES)
    parts, common = told_apart([[*curve.name_parts, f"label noise {curve.key['label_noise']:g}"] for curve in drawn])
    names = [", ".join(own) for own in parts]
    shown = [score for score in PANELS if score not in IF_KNOWN or table[score].notna().any()]
    figure, grid = style.panels(len(shown), 1, 7.2, 2.0 * len(shown) + 3.4, sharex=True)
    for axes, score in zip(grid[:, 0], shown, strict=True):
        _draw_panel(axes, score, drawn, names)
    top, lowest = grid[0, 0], grid[-1, 0]
    top.yaxis.set_major_formatter("{x:.0%}")
    lowest.set_xlabel(axis.column)
    style.log_ticks(lowest, style.spaced(sorted({int(value) for curve in drawn for value in curve.rows[axis.column]})))
    marked = [kind for kind in THRESHOLDS if any(getattr(curve, kind) is not None for curve in drawn)]
    keys = [
        *(style.key_line(name, colour, "o") for name, colour in zip(names, style.SERIES_COLOURS, strict=False)),
        style.key_line(f"{table['tested_on'].iloc[0]} error", "0.35"),
        style.key_line("training error", "0.35", **TRAINING),
        *(style.key_line(called, "0.35", line=line) for line, called in (THRESHOLDS[kind] for kind in marked)),
    ]
    sizes = {"fontsize": 8, "columnspacing": 1.2, "handlelength": 1.8}
    top.legend(handles=keys, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, **sizes)
    figure.align_ylabels()
    caption = _curves_caption(table, axis, drawn, len(found))
    return style.inscribe(figure, title_of(name, tables.sweep, *common), caption)


def _draw_panel(axes: Axes, score: str, drawn: Sequence[Curve], names: Sequence[str]) -> None:
    second, look = PANELS[score]
    bands, lines = [], len(drawn) * (1 + bool(second))
    for place, (curve, name, colour) in enumerate(zip(drawn, names, style.SERIES_COLOURS, strict=False)):
        rows, x, of_right = curve.rows, curve.axis.column, f"{score}_correct"  # if it is known which labels are right
        solid = of_right if of_right in rows and rows[of_right].notna().any() else score
        style.score_line(axes, rows, x, solid, colour, name, at=(place, lines))
        if second:
            style.score_line(axes, rows, x, second, colour, "", at=(place + len(drawn), lines), **look)
        for threshold, (line, _) in THRESHOLDS.items():
            at = getattr(curve, threshold)
            if at is not None:
                # Wide dots show on both sides of a line at the same place.
                axes.axvline(at, color=colour, linestyle=line, linewidth=2.4 if line == ":" else 1.0, alpha=0.5)
        bands += [(learned(rows), column) for column in (solid, second) if column]
    axes.set_ylabel(LABELS[score])
    if score == "margin" and any(curve.rows[second].notna().any() for curve in drawn):
        looks = {"correctly labelled images": Look(marker="o"), "mislabelled images": MISLABELLED}
        handles = [style.key_line(called, "0.35", **shown) for called, shown in looks.items()]
        axes.legend(handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8, borderpad=0)
    style.plain(axes)
    axes.set_xscale("log", base=2)
    if score == "test_error":
        # Twice the highest peak, so that narrow networks do not flatten it; the largest error if there is no peak.
        peaks = [float(curve.rows[score][curve.representative_rows[PEAK]]) for curve in drawn if curve.has_peak]
        largest = max(float(learned(curve.rows)[error].max()) for curve in drawn for error in (score, second))
        axes.set_ylim(0, min(1.05 * largest, 2 * max(peaks, default=largest)))
    elif score == "reproducibility":
        low, high = style.limits(bands)
        axes.set_ylim(max(0.0, low), min(1.0, high))
    elif score == "false_labels_learned":
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter("{x:.0%}")
    elif drawn[0].rows[score].notna().any():
        axes.set_ylim(style.limits(bands))


def _curves_caption(table: pd.DataFrame, axis: Axis, drawn: Sequence[Curve], found: int) -> str:
    with_models = table[table["n_models"] > 0]
    covers = " or ".join(sorted(set(with_models["reproducibility_interval_covers"]) - {"nothing"})) or "nothing"
    images = with_models["n_margin_images"].max()
    margins = f"; distances: L2 in normalised pixels, from {images} images" if images else ""
    return (
        f"{part_of(len(drawn), found, 'curves')}{counts_text(table, 'a point')}; "
        "bars: 95 % intervals over trainings and images or planes, "
        f"cut at the frame (reproducibility: over {covers}); vertical lines: from this {axis.column} "
        f"on; interpolation threshold: at least {ALL_LABELS:.0%} of the false labels learned (of all, if none is false)"
        f"{margins}{unlearned_note(pd.concat([curve.rows for curve in drawn]), FRAME)}{left_out_note(table)}"
    )


MAX_SURFACES = 2
ON_SURFACE = ("test_error", "reproducibility", "fragmentation", "margin")
THRESHOLD_COLOUR = "#EE3377"
COLOURS_FIT = "colours fit the cells whose trainings all predict several classes"


def error_surface(tables: SweepTables) -> Figure:
    """A row of heat maps for each surface, at most two, of the largest label noises; widths across, epochs upwards."""
    groups = tables.first("groups")
    found = surfaces(groups)
    if not found:
        return style.nothing_left(groups, "network at several widths and epochs is")
    shown = found[:MAX_SURFACES]
    rows = pd.concat(shown)
    labels = {score: LABELS[score] for score in ON_SURFACE if rows[score].notna().any()}
    labels["test_error"] = f"{groups['tested_on'].iloc[0]} error"
    widths = max(surface["width"].nunique() for surface in shown)
    width = len(labels) * max(2.5, 0.2 * widths + 1.7) + 0.8
    figure, grid = style.panels(len(shown), len(labels), width, 3.9 * len(shown) + 1.3)
    for column, (score, label) in zip(grid.T, labels.items(), strict=True):
        # Early epochs have such large errors and margins that few colours would be left for the rest.
        norm = PowerNorm(0.5 if score in ("test_error", "margin") else 1.0, *learned(rows)[score].agg(["min", "max"]))
        for axes, surface in zip(column, shown, strict=True):
            _draw_surface(axes, surface, score, norm, first=column[0] is grid[0, 0])
        column[0].set_title(label, loc="right")  # the letter stands at the left
        percent = "{x:.0%}" if score == "test_error" else None
        figure.colorbar(column[0].collections[0], ax=column, format=percent, aspect=30, pad=0.03)
    firsts = pd.concat([surface.iloc[:1] for surface in shown])
    columns = [column for column in NAMING if column != "width"]
    names = [
        f"{name}, label noise {noise:g}"
        for name, noise in zip(names_of(firsts, columns), firsts["label_noise"], strict=True)
    ]
    for axes, name in zip(grid[:, 0], names, strict=True):
        axes.set_ylabel(f"{name}\nepoch" if len(shown) > 1 else "epoch")
    half = {score: ((rows[f"{score}_high"] - rows[f"{score}_low"]) / 2).median() for score in labels}
    reach = [
        f"{label} ±{100 * half[score]:.2g} %" if score == "test_error" else f"{label} ±{half[score]:.2g}"
        for score, label in labels.items()
        if np.isfinite(half[score])
    ]
    images = rows["n_margin_images"].max()
    margins = f", {images} images for distances (L2 in normalised pixels)" if images else ""
    caption = (
        f"{part_of(len(shown), len(found), 'surfaces')}{counts_text(rows, 'a cell')}{margins}; half of the 95 % "
        f"intervals (over trainings, images or planes)\nare narrower than {', '.join(reach)}; above the line: training "
        f"error at most {SMALL_ERROR:.0%}{unlearned_note(rows, COLOURS_FIT)}{left_out_note(groups)}"
    )
    return style.inscribe(figure, title_of("error_surface", tables.sweep, names[0] * (len(shown) == 1)), caption)


def _draw_surface(axes: Axes, rows: pd.DataFrame, score: str, norm: PowerNorm, *, first: bool) -> None:
    values = rows.pivot(index="epoch", columns="width", values=score)  # ascending; NaN for a missing group
    kept = [int(epoch) for epoch in values.index]
    # On the log axis, the borders of cells are midway between epochs, and equally far beyond the ends.
    logs = np.log(kept)
    middles = (logs[1:] + logs[:-1]) / 2
    edges = np.exp([2 * logs[0] - middles[0], *middles, 2 * logs[-1] - middles[-1]])
    places = np.arange(len(values.columns) + 1) - 0.5
    axes.set_facecolor("0.85")
    axes.pcolormesh(places, edges, values.to_numpy(dtype=float), cmap="cividis", norm=norm)
    of_width = {curve.key["width"]: curve.small_train_error for curve in curves(rows, EPOCH)}
    thresholds = [of_width.get(width) for width in values.columns]
    if any(thresholds):  # a line below the first cell of each width with a small training error, or at the top
        heights = [edges[kept.index(epoch)] if epoch else edges[-1] for epoch in thresholds]
        axes.plot(places, [*heights, heights[-1]], color=THRESHOLD_COLOUR, drawstyle="steps-post", linewidth=2)
    axes.set_yscale("log")
    labels = style.spaced(kept, room=1.6)
    axes.set_yticks(labels, labels=[str(epoch) for epoch in labels] if first else [])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    rotation = 90 if len(values.columns) > 6 else 0
    axes.set_xticks(range(len(values.columns)), labels=values.columns, rotation=rotation, fontsize=8.5)
    axes.set_xlabel("width")
