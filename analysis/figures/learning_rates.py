"""Error and reproducibility over the learning rate: where the best rate lies, and what it costs to miss it."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, PercentFormatter

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..scores.groups import NETWORK, at_last_epoch, names_of, records
from ..tables import read_table
from .style import SERIES_COLOURS, band, inscribe, left_out_note, plain, range_text, title_of


def learning_rates(store: Store, sweep: SweepConfig) -> Figure:
    """A column for each network and label noise: error above, reproducibility below, a colour a recipe.

    A ring marks the smallest error; `x2` at the top of the error panel says that two trainings diverged. From the
    first plane set's rows of `groups`, at the last epoch.
    """
    groups = at_last_epoch(read_table(store, "groups"))
    groups = groups[groups["plane_set"] == next(iter(sweep.planes))]
    groups = groups.assign(network=names_of(groups, NETWORK))
    recipes = list(dict.fromkeys(groups["recipe"]))
    colours = {recipe: SERIES_COLOURS[index % len(SERIES_COLOURS)] for index, recipe in enumerate(recipes)}
    columns = list(groups.groupby(["network", "label_noise"], sort=False))
    lost = 6 + (6 + 9 * len(recipes)) * bool(groups["n_diverged"].any())
    figure = Figure(figsize=(max(5.6, 2.9 * len(columns) + 0.8), 6.4), layout="constrained")
    above, below = figure.subplots(2, len(columns), squeeze=False, sharex=True, sharey="row")
    for error, agreement, ((network, noise), rows) in zip(above, below, columns, strict=True):
        for index, recipe in enumerate(recipes):
            of_recipe = rows[rows["recipe"] == recipe].sort_values("learning_rate")
            band(error, of_recipe, "learning_rate", "test_error", colours[recipe], recipe)
            band(agreement, of_recipe, "learning_rate", "reproducibility", colours[recipe], recipe)
            _mark_best(error, agreement, of_recipe, colours[recipe])
            _mark_diverged(error, of_recipe, colours[recipe], 1.02 + 0.05 * index)
        noisy = groups["label_noise"].nunique() > 1
        error.set_title(f"{network}" + f"\nlabel noise {noise:g}" * noisy, fontsize=10, pad=lost)
        for axes in (error, agreement):
            plain(axes)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
        agreement.set_xlabel("learning rate")
    above[0].set_ylabel(f"{groups['tested_on'].iloc[0]} error")
    above[0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    below[0].set_ylabel("reproducibility")
    if len(recipes) > 1:
        handles = [Line2D([], [], color=colours[name], marker="o", markersize=3.5, label=name) for name in recipes]
        above[0].legend(handles=handles, fontsize=8, framealpha=0.8, edgecolor="none")
    inscribe(figure, title_of(sweep), _caption(groups))
    return figure


def _mark_best(error: Axes, agreement: Axes, rows: pd.DataFrame, colour: str) -> None:
    best = rows[rows["n_models"] > 0].sort_values(["test_error", "learning_rate"]).iloc[:1]
    for axes, score in ((error, "test_error"), (agreement, "reproducibility")):
        axes.scatter(best["learning_rate"], best[score], s=120, facecolors="none", edgecolors=colour, linewidths=1.5)


def _mark_diverged(axes: Axes, rows: pd.DataFrame, colour: str, height: float) -> None:
    for row in records(rows[rows["n_diverged"] > 0]):
        axes.text(
            row["learning_rate"],
            height,
            f"x{row['n_diverged']}",
            color=colour,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
        )


def _caption(groups: pd.DataFrame) -> str:
    counted = groups[groups["n_models"] > 0]
    crosses = " (x: how many diverged)" if groups["n_diverged"].any() else ""
    return (
        f"{range_text(counted['n_models'])} trainings a point, {counted['n_planes'].iloc[0]} planes, "
        f"{counted['n_test_images'].iloc[0]} images; rings: smallest error;\n"
        f"bands: 95 % intervals over trainings and images or planes{left_out_note(groups)}{crosses}"
    )
