"""Errors, regions and reproducibility over width: the paper's Figures 6, 9 and 10 in one picture."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter

from analysis.figures.style import SERIES_COLOURS, plain
from analysis.findings import PEAK, THRESHOLD_ERROR, curves, has_peak, interpolation_threshold, telling_widths
from analysis.tables import read_table
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store


def double_descent(store: Store, sweep: SweepConfig) -> Figure:
    """Three panels over width, on a log axis: error, regions per plane, reproducibility, with 95 % bands.

    One colour a curve (architecture and label noise); dotted vertical lines mark interpolation thresholds. Drawn
    from the first plane set's rows of the table `double_descent`.
    """
    table = read_table(store, "double_descent")
    drawn = [(key, curve) for key, curve in curves(table) if key["plane_set"] == next(iter(sweep.planes))]
    several = table["architecture"].nunique() > 1
    figure = Figure(figsize=(7.2, 9.2), layout="constrained")
    error, regions, agreement = figure.subplots(3, sharex=True)
    for (key, curve), colour in zip(drawn, _colours(len(drawn)), strict=True):
        name = f"{key['architecture']}, " * several + f"label noise {key['label_noise']:g}"
        _band(error, curve, "test_error", colour, f"test, {name}")
        _band(error, curve, "train_error", colour, f"train, {name}", line="--")
        _band(regions, curve, "fragmentation", colour, name)
        _band(agreement, curve, "reproducibility", colour, name)
        threshold = interpolation_threshold(curve)
        for axes in (error, regions, agreement) if threshold else ():
            axes.axvline(threshold, color=colour, linestyle=":", linewidth=1.2)
    error.plot([], [], ":", color="0.3", linewidth=1.2, label="interpolation threshold")
    error.set_ylim(0, _error_limit([curve for _, curve in drawn]))
    _label_panels(error, regions, agreement, sorted(table["width"].unique()))
    figure.suptitle(sweep.name.replace("_", " "), fontsize=13)
    figure.supxlabel(_caption(table), fontsize=8, color="0.35")
    return figure


def _band(axes: Axes, curve: pd.DataFrame, score: str, colour: str, label: str, line: str = "-") -> None:
    if curve[score].isna().all():
        return
    axes.plot(curve["width"], curve[score], line, marker="o", markersize=3.5, color=colour, label=label)
    axes.fill_between(
        curve["width"], curve[f"{score}_low"], curve[f"{score}_high"], color=colour, alpha=0.18, linewidth=0
    )


def _label_panels(error: Axes, regions: Axes, agreement: Axes, widths: list[int]) -> None:
    error.set_ylabel("error")
    error.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    regions.set_ylabel("regions per plane")
    agreement.set_ylabel("reproducibility")
    agreement.set_ylim(top=1)
    for axes in (error, regions, agreement):
        plain(axes)
        axes.set_xscale("log", base=2)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, frameon=False)
    agreement.set_xlabel("width")
    agreement.set_xticks(_spaced(widths), labels=[str(width) for width in _spaced(widths)])
    agreement.xaxis.set_minor_locator(NullLocator())
    agreement.xaxis.set_minor_formatter(NullFormatter())


def _error_limit(drawn: list[pd.DataFrame]) -> float:
    """Twice the highest peak, so that the narrowest networks do not flatten it; the largest error if none peaks."""
    peaks = [curve["test_error"][telling_widths(curve)[PEAK]] for curve in drawn if has_peak(curve)]
    largest = max(max(curve["test_error"].max(), curve["train_error"].max()) for curve in drawn)
    return float(min(1.05 * largest, 2 * max(peaks))) if peaks else float(1.05 * largest)


def _spaced(widths: list[int], ratio: float = 1.3) -> list[int]:
    """The widths, without those whose numbers would overlap on the log axis."""
    kept: list[int] = []
    for width in widths:
        if not kept or width >= ratio * kept[-1]:
            kept.append(width)
    return kept


def _caption(table: pd.DataFrame) -> str:
    first = table.iloc[0]
    models = sorted(table["n_models"].unique())
    count = f"{models[0]}" if len(models) == 1 else f"{models[0]} to {models[-1]}"
    covers = " to ".join(sorted(set(table["reproducibility_interval_covers"])))
    return (
        f"{count} trainings a point, {first['n_planes']} planes; bands: 95 % intervals over trainings and images or "
        f"planes\n(reproducibility: over {covers}); dotted: smallest width with a training error of at most "
        f"{THRESHOLD_ERROR:.0%}"
    )


def _colours(count: int) -> list[str]:
    return [SERIES_COLOURS[index % len(SERIES_COLOURS)] for index in range(count)]
