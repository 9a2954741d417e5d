"""Reproducibility against accuracy, by recipe and network: the paper's Table 1 as a picture."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..findings.curves import evenly
from ..scores.groups import NETWORK, names_of, records
from ..tables import read_table
from ..tables.recipes import at_best_rate, several_rates, several_recipes
from .style import (
    MARKERS,
    SERIES_COLOURS,
    inscribe,
    left_out_note,
    part_of,
    plain,
    range_text,
    title_of,
)

MAX_POINTS = 24


def by_recipe(store: Store, sweep: SweepConfig) -> Figure:
    """A panel for each label noise: a point a group with its two intervals, at most `MAX_POINTS` in all.

    A colour a recipe and a marker a network; both tell the network where each has one recipe, and the recipe where
    there is one network. From the first plane set's rows of `groups`, at the best learning rate of several.
    """
    groups = read_table(store, "groups")
    groups = groups[groups["plane_set"] == next(iter(sweep.planes))]
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
    inscribe(figure, title_of(sweep), part_of(len(best), len(every), "groups") + _caption(best, groups))
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
    """One for each name, or first the colours and then the markers if these tell different things."""
    if colours.keys() == markers.keys():
        return [_handle(name, colours[name], markers[name]) for name in colours]
    by_colour = [_handle(name, colour, "s") for name, colour in colours.items()]
    return [*by_colour, _handle("", "none", ""), *(_handle(name, "0.35", marker) for name, marker in markers.items())]


def _cycled(names: list[str], values: tuple[str, ...] | str) -> dict[str, str]:
    """A value for each name, starting one later in each round: colour and marker together are not the same twice."""
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
