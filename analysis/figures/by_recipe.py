"""Reproducibility against accuracy, by recipe and network: the paper's Table 1 as a picture."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from analysis.figures.style import MARKERS, SERIES_COLOURS, inscribe, left_out_note, plain, range_text, title_of
from analysis.groups import NETWORK, names_of, records
from analysis.recipes import at_best_rate, recipe_columns, several_rates
from analysis.tables import read_table
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store


def by_recipe(store: Store, sweep: SweepConfig) -> Figure:
    """A panel for each label noise: a point a group with its two intervals.

    A colour a recipe and a marker a network; where each network has one recipe, both tell the network. From the first
    plane set's rows of `groups`, at the best learning rate where there are several.
    """
    groups = read_table(store, "groups")
    groups = groups[groups["plane_set"] == next(iter(sweep.planes))]
    best = at_best_rate(groups)
    best = best.assign(network=names_of(best, NETWORK), accuracy=1 - best["test_error"])
    recipes, networks = list(dict.fromkeys(best["recipe"])), list(dict.fromkeys(best["network"]))
    by_colour = "recipe" if len(recipe_columns(best)) > 1 else "network"
    colours = _cycled(recipes if by_colour == "recipe" else networks, SERIES_COLOURS)
    markers = _cycled(networks, MARKERS)
    noises = sorted(best["label_noise"].unique())
    figure = Figure(figsize=(4.6 * len(noises) + 2.6, 5.2), layout="constrained")
    row = figure.subplots(1, len(noises), squeeze=False, sharey=True)[0]
    for axes, noise in zip(row, noises, strict=True):
        for group in records(best[best["label_noise"] == noise]):
            _point(axes, group, colours[group[by_colour]], markers[group["network"]])
        plain(axes)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_xlabel("accuracy" if best["tested_on"].iloc[0] == "test" else "held-out accuracy")
        if len(noises) > 1:
            axes.set_title(f"label noise {noise:g}", fontsize=10)
    row[0].set_ylabel("reproducibility")
    handles = [_handle(name, colours[name] if by_colour == "network" else "0.35", markers[name]) for name in networks]
    if by_colour == "recipe":
        handles = [_handle(name, colours[name], "s") for name in recipes] + [_handle("", "none", "")] + handles
    figure.legend(handles=handles, loc="outside right upper", fontsize=8.5, frameon=False)
    inscribe(figure, title_of(sweep), _caption(best, groups))
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


def _cycled(names: list[str], values: tuple[str, ...] | str) -> dict[str, str]:
    return {name: values[index % len(values)] for index, name in enumerate(names)}


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
