"""Compares recipes: reproducibility against accuracy (the paper's Table 1 as a picture), and learning rates."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, PercentFormatter

from ..findings.curves import evenly
from ..scores.groups import NETWORK, at_last_epoch, names_of, records
from ..tables.recipes import at_best_rate, several_rates, several_recipes
from .style import (
    MARKERS,
    SERIES_COLOURS,
    band,
    inscribe,
    left_out_note,
    part_of,
    plain,
    range_text,
    title_of,
)
from .sweep_tables import SweepTables

MAX_POINTS = 24


def by_recipe(tables: SweepTables) -> Figure:
    """A panel for each label noise, and in it a point for each group with two intervals, at most `MAX_POINTS` in all.

    Colours stand for recipes and markers for networks. If each network has one recipe, both stand for the network; if
    there is one network, both stand for the recipe. Drawn from the first plane set, at the best learning rates.
    """
    groups = tables.first("groups")
    every = at_best_rate(groups)
    best = every.iloc[evenly(len(every), MAX_POINTS)]
    best = best.assign(network=names_of(best, NETWORK), accuracy=1 - best["test_error"])
    recipes, networks = list(dict.fromkeys(best["recipe"])), list(dict.fromkeys(best["network"]))
    by_colour = "recipe" if several_recipes(best) else "network"
    by_marker = "recipe" if len(networks) == 1 else "network"
    colours = _cycled(recipes if by_colour == "recipe" else networks, SERIES_COLOURS)
    markers = _cycled(recipes if by_marker == "recipe" else networks, MARKERS)
    handles = _handles(colours, markers)
    noises = sorted(best["label_noise"].unique())
    longest = max(len(str(handle.get_label())) for handle in handles)
    size = (4.6 * len(noises) + 1.3 + 0.08 * longest, max(5.2, 0.19 * len(handles) + 0.8))
    figure = Figure(figsize=size, layout="constrained")
    row = figure.subplots(1, len(noises), squeeze=False, sharey=True)[0]
    for axes, noise in zip(row, noises, strict=True):
        for group in records(best[best["label_noise"] == noise]):
            _point(axes, group, colours[group[by_colour]], markers[group[by_marker]])
        plain(axes)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("accuracy" if best["tested_on"].iloc[0] == "test" else "held-out accuracy")
        if len(noises) > 1:
            axes.set_title(f"label noise {noise:g}", fontsize=10)
    row[0].set_ylabel("reproducibility")
    figure.legend(handles=handles, loc="outside right upper")
    inscribe(figure, title_of(tables.sweep), part_of(len(best), len(every), "groups") + _caption(best, groups))
    return figure


def _point(axes: Axes, group: dict[str, float], colour: str, marker: str) -> None:
    if pd.isna(group["reproducibility"]):
        return
    x, y = group["accuracy"], group["reproducibility"]
    axes.errorbar(
        x,
        y,
        xerr=[[group["test_error_high"] - group["test_error"]], [group["test_error"] - group["test_error_low"]]],
        yerr=[[y - group["reproducibility_low"]], [group["reproducibility_high"] - y]],
        color=colour,
        marker=marker,
        markersize=7,
        markeredgecolor="white",
        markeredgewidth=0.6,
        elinewidth=1,
        linestyle="none",
    )


def _handles(colours: dict[str, str], markers: dict[str, str]) -> list[Line2D]:
    """A handle for each name, or first colours and then markers if these stand for different things."""
    if colours.keys() == markers.keys():
        return [_handle(name, colours[name], markers[name]) for name in colours]
    by_colour = [_handle(name, colour, "s") for name, colour in colours.items()]
    return [*by_colour, _handle("", "none", ""), *(_handle(name, "0.35", marker) for name, marker in markers.items())]


def _cycled(names: list[str], values: tuple[str, ...] | str) -> dict[str, str]:
    """A value for each name, shifted by one in each round, so that no combination of colour and marker repeats."""
    return {name: values[(index + index // len(values)) % len(values)] for index, name in enumerate(names)}


def _handle(name: str, colour: str, marker: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, linestyle="none", label=name, markersize=6)


def _caption(best: pd.DataFrame, groups: pd.DataFrame) -> str:
    counted = best[best["n_models"] > 0]
    rates = "; each at its best learning rate" if several_rates(groups) else ""
    return (
        f"{range_text(counted['n_models'])} trainings a point, {counted['n_planes'].iloc[0]} planes, "
        f"{counted['n_test_images'].iloc[0]} images{rates};\n"
        f"bars: 95 % intervals over trainings and planes, or images{left_out_note(groups)}"
    )


def learning_rates(tables: SweepTables) -> Figure:
    """A column for each network and label noise: error above, reproducibility below, one colour for each recipe.

    A ring marks the smallest error; "x2" at the top of the error panel means that two trainings diverged. Drawn from
    the first plane set, at the last epoch.
    """
    groups = at_last_epoch(tables.table("groups"))
    groups = groups[groups["plane_set"] == tables.plane_set]
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
    inscribe(figure, title_of(tables.sweep), _rates_caption(groups))
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


def _rates_caption(groups: pd.DataFrame) -> str:
    counted = groups[groups["n_models"] > 0]
    crosses = " (x: how many diverged)" if groups["n_diverged"].any() else ""
    return (
        f"{range_text(counted['n_models'])} trainings a point, {counted['n_planes'].iloc[0]} planes, "
        f"{counted['n_test_images'].iloc[0]} images; rings: smallest error;\n"
        f"bands: 95 % intervals over trainings and images or planes{left_out_note(groups)}{crosses}"
    )
