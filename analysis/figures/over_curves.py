"""Errors, regions, reproducibility and margins over width, or over epochs: the paper's Figures 6, 9 and 10 in one."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from ..findings.curves import (
    EPOCH,
    PEAK,
    THRESHOLD_ERROR,
    WIDTH,
    Axis,
    Curve,
    curves,
    has_peak,
    interpolation_threshold,
    representative_curves,
    representative_rows,
)
from .style import (
    SERIES_COLOURS,
    band,
    inscribe,
    left_out_note,
    limits,
    log_ticks,
    nothing_left,
    part_of,
    plain,
    range_text,
    spaced,
    title_of,
)
from .sweep_tables import SweepTables, told_apart

MAX_CURVES = 4
FEW = 2
"""Up to this many curves, dashed lines have bands too, and kappa is drawn."""
DASHED = "--"
MISLABELLED = "margin_mislabelled"


def double_descent(tables: SweepTables) -> Figure:
    """Scores over width at the last epoch."""
    return _panels(tables, WIDTH)


def epochs(tables: SweepTables) -> Figure:
    """Scores over the kept epochs, at each width."""
    return _panels(tables, EPOCH)


def _panels(tables: SweepTables, axis: Axis) -> Figure:
    """Panels on a log axis, with 95 % bands: error (dashed: training error), regions per plane, reproducibility
    (dashed: kappa) and, if known, margins of correctly labelled (dashed: mislabelled) images.

    Each curve has a colour, at most `MAX_CURVES`; dotted vertical lines mark interpolation thresholds. Drawn from the
    first plane set.
    """
    table = tables.first("groups")
    found = curves(table, axis, tables.table("differences"))
    if not found:
        return nothing_left(tables.sweep, table, f"curve over several {axis.column}s is")
    drawn = representative_curves(found, MAX_CURVES)
    parts, common = told_apart([[*curve.name_parts, f"label noise {curve.key['label_noise']:g}"] for curve in drawn])
    names = [", ".join(own) for own in parts]
    with_margins = bool(table["margin"].notna().any())
    figure = Figure(figsize=(7.2, 11.4 if with_margins else 9.4), layout="constrained")
    panels = list(figure.subplots(4 if with_margins else 3, sharex=True))
    for curve, name, colour in zip(drawn, names, SERIES_COLOURS, strict=False):
        _draw(panels, curve, name, colour, few=len(drawn) <= FEW)
    panels[0].set_ylim(0, _error_limit(drawn))
    if drawn[0].rows["fragmentation"].notna().any():
        panels[1].set_ylim(limits([(curve.rows, "fragmentation") for curve in drawn]))
    for margin in panels[3:]:
        columns = [(curve.rows, column) for curve in drawn for column in (_margin_column(curve), MISLABELLED)]
        margin.set_ylim(limits(columns))
    _label_panels(panels, axis, sorted({int(value) for curve in drawn for value in curve.rows[axis.column]}))
    with_threshold = any(interpolation_threshold(curve) is not None for curve in drawn)
    _legend(panels[0], names, str(table["tested_on"].iloc[0]), with_threshold)
    figure.align_ylabels()
    inscribe(figure, title_of(tables.sweep, ", ".join(common)), _caption(table, axis, len(drawn), len(found)))
    return figure


def _draw(panels: Sequence[Axes], curve: Curve, name: str, colour: str, *, few: bool) -> None:
    error, regions, agreement = panels[:3]
    rows, x = curve.rows, curve.axis.column
    band(error, rows, x, "test_error", colour, name)
    band(error, rows, x, "train_error", colour, "", line=DASHED, shaded=few)
    band(regions, rows, x, "fragmentation", colour, name)
    band(agreement, rows, x, "reproducibility", colour, name)
    if few:
        band(agreement, rows, x, "kappa", colour, "", line=DASHED, shaded=False)
    for margin in panels[3:]:
        band(margin, rows, x, _margin_column(curve), colour, name)
        band(margin, rows, x, MISLABELLED, colour, "", line=DASHED, shaded=few)
    threshold = interpolation_threshold(curve)
    if threshold is not None:
        for axes in panels:
            axes.axvline(threshold, color=colour, linestyle=":", linewidth=1.2)


def _legend(axes: Axes, names: Sequence[str], tested_on: str, with_threshold: bool) -> None:
    """Explain colours and lines above a panel."""
    colours = [
        Line2D([], [], color=colour, marker="o", markersize=3.5, label=name)
        for name, colour in zip(names, SERIES_COLOURS, strict=False)
    ]
    lines = [
        Line2D([], [], color="0.35", linestyle="-", label=f"{tested_on} error"),
        Line2D([], [], color="0.35", linestyle="--", label="training error"),
        *[Line2D([], [], color="0.35", linestyle=":", label="interpolation threshold")] * with_threshold,
    ]
    axes.legend(
        handles=colours + lines,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3 if len(names) > 2 else 5,
        fontsize=8,
        frameon=False,
        columnspacing=1.2,
        handlelength=1.8,
    )


def _label_panels(panels: Sequence[Axes], axis: Axis, ticks: list[int]) -> None:
    labels = ("error", "regions per plane", "reproducibility", "distance to the boundary")
    dashed = ("", "", "kappa", "mislabelled images")
    for axes, label, of_dashed in zip(panels, labels, dashed, strict=False):
        with_dashed = of_dashed and any(line.get_linestyle() == DASHED for line in axes.lines)
        axes.set_ylabel(f"{label}\n(dashed: {of_dashed})" if with_dashed else label)
        plain(axes)
        axes.set_xscale("log", base=2)
    panels[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    panels[2].set_ylim(top=1)
    panels[-1].set_xlabel(axis.column)
    log_ticks(panels[-1], spaced(ticks))


def _margin_column(curve: Curve) -> str:
    """The margin column: correctly labelled images, or all images if these are unknown."""
    return "margin_correct" if curve.rows["margin_correct"].notna().any() else "margin"


def _error_limit(drawn: Sequence[Curve]) -> float:
    """Twice the highest peak, so that narrow networks do not flatten it; the largest error if there is no peak."""
    peaks = [curve.rows["test_error"][representative_rows(curve)[PEAK]] for curve in drawn if has_peak(curve)]
    largest = max(max(curve.rows["test_error"].max(), curve.rows["train_error"].max()) for curve in drawn)
    return float(min(1.05 * largest, 2 * max(peaks))) if peaks else float(1.05 * largest)


def _caption(table: pd.DataFrame, axis: Axis, drawn: int, found: int) -> str:
    with_models = table[table["n_models"] > 0]
    covers = " or ".join(sorted(set(with_models["reproducibility_interval_covers"]) - {"nothing"}))
    images = with_models["n_margin_images"].max()
    margins = f";\ndistances: L2 in normalised pixels, from {images} images" if images else ""
    counts = f"{range_text(with_models['n_models'])} trainings a point, {with_models['n_planes'].iloc[0]} planes"
    return (
        f"{part_of(drawn, found, 'curves')}{counts}; "
        "bands: 95 % intervals over trainings and images or planes,\n"
        f"cut at the frame (reproducibility: over {covers or 'nothing'}); dotted: smallest {axis.column} with a "
        f"training error of at most {THRESHOLD_ERROR:.0%}{margins}{left_out_note(table)}"
    )
