"""Errors, regions and reproducibility over width, or over epochs: the paper's Figures 6, 9 and 10 in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from analysis.curves import (
    EPOCH,
    PEAK,
    THRESHOLD_ERROR,
    WIDTH,
    Axis,
    Curve,
    curves,
    has_peak,
    interpolation_threshold,
    telling_curves,
    telling_rows,
)
from analysis.figures.style import SERIES_COLOURS, band, diverged_note, plain, range_text, title_of
from analysis.tables import read_table
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

MAX_CURVES = 4
FEW = 2
"""Up to as many curves have bands around their training errors too."""


def double_descent(store: Store, sweep: SweepConfig) -> Figure:
    """Scores over width at the last epoch."""
    return _three_panels(store, sweep, WIDTH)


def epochs(store: Store, sweep: SweepConfig) -> Figure:
    """Scores over the kept epochs, at each width."""
    return _three_panels(store, sweep, EPOCH)


def _three_panels(store: Store, sweep: SweepConfig, axis: Axis) -> Figure:
    """Three panels on a log axis: error, regions per plane, reproducibility, with 95 % bands.

    One colour a curve, at most `MAX_CURVES`; dotted vertical lines mark interpolation thresholds.
    Drawn from the first plane set's rows.
    """
    table, differences = (read_table(store, name) for name in ("groups", "differences"))
    table = table[table["plane_set"] == next(iter(sweep.planes))]
    found = curves(table, axis, differences)
    drawn = telling_curves(found, MAX_CURVES)
    names, common = _names(drawn)
    figure = Figure(figsize=(7.2, 9.4), layout="constrained")
    error, regions, agreement = figure.subplots(3, sharex=True)
    for curve, name, colour in zip(drawn, names, SERIES_COLOURS, strict=False):
        few = len(drawn) <= FEW
        band(error, curve.rows, axis.column, "test_error", colour, name)
        band(error, curve.rows, axis.column, "train_error", colour, "", line="--", shaded=few)
        band(regions, curve.rows, axis.column, "fragmentation", colour, name)
        band(agreement, curve.rows, axis.column, "reproducibility", colour, name)
        threshold = interpolation_threshold(curve)
        for axes in (error, regions, agreement) if threshold else ():
            axes.axvline(threshold, color=colour, linestyle=":", linewidth=1.2)
    if drawn:
        error.set_ylim(0, _error_limit(drawn))
    ticks = sorted({int(value) for curve in drawn for value in curve.rows[axis.column]})
    _label_panels(error, regions, agreement, axis, ticks)
    _legend(error, names, str(table["tested_on"].iloc[0]))
    figure.suptitle(": ".join([title_of(sweep), common]) if common else title_of(sweep), fontsize=13)
    figure.supxlabel(_caption(table, axis, len(drawn), len(found)), fontsize=8, color="0.35")
    return figure


def _names(drawn: Sequence[Curve]) -> tuple[list[str], str]:
    """What tells the curves apart, and what they have in common where that is not all they are called."""
    parts = [[*curve.name.split(", "), f"label noise {curve.key['label_noise']:g}"] for curve in drawn]
    shared = [part for part in parts[0] if all(part in other for other in parts)] if parts else []
    if len(parts) < 2:
        return [", ".join(part) for part in parts], ""
    return [", ".join(part for part in own if part not in shared) for own in parts], ", ".join(shared)


def _legend(axes: Axes, names: Sequence[str], tested_on: str) -> None:
    """Above a panel: what the colours and the lines mean."""
    colours = [
        Line2D([], [], color=colour, marker="o", markersize=3.5, label=name)
        for name, colour in zip(names, SERIES_COLOURS, strict=False)
    ]
    lines = [
        Line2D([], [], color="0.35", linestyle="-", label=f"{tested_on} error"),
        Line2D([], [], color="0.35", linestyle="--", label="training error"),
        Line2D([], [], color="0.35", linestyle=":", label="interpolation threshold"),
    ]
    axes.legend(
        handles=colours + lines,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=3 if len(names) > 2 else 5,
        fontsize=8,
        frameon=False,
        columnspacing=1.4,
    )


def _label_panels(error: Axes, regions: Axes, agreement: Axes, axis: Axis, ticks: list[int]) -> None:
    error.set_ylabel("error")
    error.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    regions.set_ylabel("regions per plane")
    agreement.set_ylabel("reproducibility")
    agreement.set_ylim(top=1)
    for axes in (error, regions, agreement):
        plain(axes)
        axes.set_xscale("log", base=2)
    agreement.set_xlabel(axis.column)
    agreement.set_xticks(_spaced(ticks), labels=[str(tick) for tick in _spaced(ticks)])
    agreement.xaxis.set_minor_locator(NullLocator())
    agreement.xaxis.set_minor_formatter(NullFormatter())


def _error_limit(drawn: Sequence[Curve]) -> float:
    """Twice the highest peak, so that the narrowest networks do not flatten it; the largest error if none peaks."""
    peaks = [curve.rows["test_error"][telling_rows(curve)[PEAK]] for curve in drawn if has_peak(curve)]
    largest = max(max(curve.rows["test_error"].max(), curve.rows["train_error"].max()) for curve in drawn)
    return float(min(1.05 * largest, 2 * max(peaks))) if peaks else float(1.05 * largest)


def _spaced(ticks: list[int]) -> list[int]:
    """The ticks, without those whose numbers would overlap on the log axis; always the last."""
    kept = ticks[:1]
    for tick in ticks[1:]:
        digits = len(f"{kept[-1]}{tick}")
        if math.log(tick / kept[-1]) / math.log(ticks[-1] / ticks[0]) > 0.01 + 0.009 * digits:
            kept.append(tick)
        elif tick == ticks[-1]:
            kept[-1] = tick
    return kept


def _caption(table: pd.DataFrame, axis: Axis, drawn: int, found: int) -> str:
    with_models = table[table["n_models"] > 0]
    covers = " to ".join(sorted(set(with_models["reproducibility_interval_covers"]) - {"nothing"}))
    part = f"{drawn} of {found} curves; " if drawn < found else ""
    return (
        f"{part}{range_text(with_models['n_models'])} trainings a point, {with_models['n_planes'].iloc[0]} planes; "
        "bands: 95 % intervals over trainings and images or planes\n"
        f"(reproducibility: over {covers or 'nothing'}); dotted: smallest {axis.column} with a training error of at "
        f"most {THRESHOLD_ERROR:.0%}{diverged_note(table)}"
    )
