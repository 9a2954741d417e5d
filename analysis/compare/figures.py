"""Pictures of a comparison."""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..figures.disagreement import DIFFERENCE, draw_difference
from ..figures.drawing import encoded
from ..figures.regions import PlanePicture, class_legend, colours_for, draw_regions, draw_share
from ..figures.reproducibility_matrix import draw_matrix
from ..figures.style import SERIES_COLOURS, plain
from ..figures.sweep_tables import disagreeing_shares
from .scores import Scores

MAX_COLUMNS, LETTERS = 6, 24
"""Models side by side, and letters in a line of a model's name."""
PANEL = 2.5
"""Side of one label map, in inches."""


class CellFigure(Figure):
    """A figure that a notebook shows when it is the last line of a cell, although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        return encoded(self, "png")


def representative_planes(same_points: NDArray[np.float64], count: int) -> list[int]:
    """The planes to show: the first one drawn, the one with the least agreement, the one in the middle, and further
    ones with little agreement. `same_points` is the share of equal predictions, `[pairs, planes]`."""
    order = np.argsort(same_points.mean(axis=0), kind="stable").tolist()
    chosen = dict.fromkeys([0, order[0], order[len(order) // 2], *order[1:]])
    return list(chosen)[:count]


def regions_figure(
    names: Sequence[str], planes: Sequence[PlanePicture], maps: NDArray[Any], called: Sequence[str]
) -> Figure:
    """Rows: planes, `called` so; columns: at most six models, and the share of pairs that disagree on each point.

    `maps` are `[models, planes, rows, columns]`. For two models the last column shows the second model's prediction
    where it differs.
    """
    shown = min(len(names), MAX_COLUMNS)
    heights = [min(plane.aspect, 1.6) for plane in planes]
    size = PANEL * (shown + 1) + 0.5, PANEL * sum(heights) + 0.12 * len(planes) + 0.8
    figure = CellFigure(figsize=size, layout="constrained")
    grid = figure.subplots(len(planes), shown + 1, squeeze=False, height_ratios=heights)
    class_names = planes[0].class_names
    colours = colours_for(maps, len(class_names))
    for axes_row, plane, of_plane, beside in zip(grid, planes, maps.swapaxes(0, 1), called, strict=True):
        for axes, label_map in zip(axes_row[:-1], of_plane, strict=False):
            draw_regions(axes, label_map, plane, colours)
        if len(names) == 2:
            draw_difference(axes_row[-1], of_plane[0], of_plane[1], plane, colours)
        else:
            draw_share(axes_row[-1], disagreeing_shares(of_plane, ~np.eye(len(names), dtype=bool)), plane)
        axes_row[0].set_ylabel(beside, fontsize=9)
    for axes, name in zip(grid[0], [*names[:shown], "where they disagree"], strict=True):
        axes.set_title(textwrap.fill(name, LETTERS), fontsize=10, pad=9)  # images may stand across the edge
    note = f"the first {shown} of {len(names)} models; " * (len(names) > shown)
    note += "right: share of the pairs of models that disagree, from none (white) to all (black)"
    if len(names) == 2:
        note = DIFFERENCE
    class_legend(figure, class_names, f"{note}\ncolours: predicted classes; framed: the three images", list(maps))
    return figure


def matrix_figure(scores: Scores) -> Figure:
    """Reproducibility of every two models, with the half-width of each interval over planes."""
    names, value, half_width = matrix_of(scores)
    names, count = [textwrap.fill(name, LETTERS) for name in names], len(names)
    margin = 0.085 * max((len(line) for name in names for line in name.splitlines()), default=0)
    side = 0.62 * count
    figure = CellFigure(figsize=(max(4.6, side + margin + 1.6), side + 0.7 * margin + 1.2), layout="constrained")
    axes = figure.subplots()
    draw_matrix(axes, names, value, half_width)
    figure.colorbar(axes.images[0], ax=axes, shrink=0.8, label="reproducibility")
    return figure


def matrix_of(scores: Scores) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Names of the models, and the reproducibility of every two and its half-width, `[models, models]` each."""
    names = [model.name for model in scores.models]
    value, half_width = (np.full((len(names), len(names)), np.nan) for _ in range(2))
    for a, b, pair in zip(*np.triu_indices(len(names), 1), scores.pairs, strict=True):
        value[a, b] = value[b, a] = pair.reproducibility.value
        half_width[a, b] = half_width[b, a] = (pair.reproducibility.high - pair.reproducibility.low) / 2
    return names, value, half_width


def agreement_figure(scores: Scores) -> Figure:
    """Agreement on the planes, sorted: a line for each pair, or mean and range of many pairs."""
    figure = CellFigure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    planes = scores.shape[0]
    ranks = (np.arange(planes) + 0.5) / planes
    ranked = np.sort(scores.same_points, axis=1)
    if len(ranked) <= len(SERIES_COLOURS):
        for pair, line, colour in zip(scores.pairs, ranked, SERIES_COLOURS, strict=False):
            label = textwrap.fill(f"{pair.old}, {pair.new}: mean {pair.reproducibility.value:.3f}", 70)
            axes.plot(ranks, line, color=colour, linewidth=1.8, label=label)
            axes.axhline(pair.reproducibility.value, color=colour, linewidth=0.8, linestyle=":")
    else:
        label = f"mean of {len(ranked)} pairs: {scores.reproducibility.value:.3f}"
        axes.plot(ranks, ranked.mean(axis=0), color=SERIES_COLOURS[0], linewidth=1.8, label=label)
        band = axes.fill_between(ranks, ranked.min(axis=0), ranked.max(axis=0), color=SERIES_COLOURS[0], alpha=0.18)
        band.set(linewidth=0, label="from the least to the most similar pair")
    plain(axes)
    axes.set(xlim=(0, 1), ylim=(min(0.99, max(0.0, float(ranked.min()) - 0.03)), 1.005))
    axes.xaxis.set_major_formatter("{x:.0%}")
    axes.yaxis.set_major_formatter("{x:.0%}")
    axes.set_xlabel(f"share of the {planes} planes, from least to most agreement")
    axes.set_ylabel("points on which\nthe models agree")
    figure.legend(fontsize=8, frameon=False, loc="outside upper left")
    return figure
