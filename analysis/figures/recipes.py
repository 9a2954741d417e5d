"""Compares recipes: reproducibility and accuracy in a table and against each other (the paper's Table 1), and learning
rates."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dbviz_ray.formatting import Cell, score_cell

from ..findings.curves import evenly
from ..scores.groups import NETWORK, at_last_epoch, names_of, records
from ..tables.outcomes import what_happened
from ..tables.recipes import at_best_rate, several_recipes, with_accuracy
from . import style
from .captions import counts_text, left_out_note, part_of, range_text, rates_note, title_of
from .sweep_tables import SweepTables

CELL, ROW, NAMES = 1.75, 0.46, 2.4
HEAD, SECTION = 0.42, 0.32
"""Width of a cell, height of a row, largest width of row names, heights of headings; in inches."""
SIZE = 9.5
MIDDLE: dict[str, Any] = {"ha": "center", "va": "center"}
MAX_COLUMNS = 8
LIGHTEST, DARKEST = 0.05, 0.5
"""Ends of the blue scale behind cells, on which black letters are legible."""


Sections = dict[str, list[tuple[str, list[dict[str, Any] | str]]]]
"""By headings, "" for the only one: names of rows, and for each column the row of `by_recipe`, or why there is none."""


def recipe_table(tables: SweepTables) -> Figure:
    """Rows networks, columns recipes, or the other way round if recipes are many; a section for each label noise."""
    cells, columns, sections = _content(tables)
    names = [name for rows in sections.values() for name, _ in rows]
    left, right = -min(NAMES, 0.085 * max(map(len, names)) + 0.2), CELL * len(columns)
    bottom = -HEAD - ROW * len(names) - SECTION * sum(map(bool, sections))
    figure, ((axes,),) = style.panels(1, 1, max(5.4, right - left + 0.2), 1.2 - bottom)
    axes.set_axis_off()
    axes.set(xlim=(left, right), ylim=(bottom, 0))
    for column, name in enumerate(columns):
        axes.text((column + 0.5) * CELL, -HEAD / 2, style.lines(name, CELL, SIZE), weight="bold", **MIDDLE)
    known = cells["reproducibility"].dropna()
    span = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    for y, weight in ((0, 1.4), (-HEAD, 0.8), (bottom, 1.4)):
        axes.plot([left, right], [y, y], color="black", linewidth=weight, clip_on=False)
    top = -HEAD
    for heading, rows in sections.items():
        if heading:
            axes.text(left, top - SECTION / 2, heading, va="center", style="italic", color="0.3")
            top -= SECTION
        for name, row in rows:
            axes.text(left, top - ROW / 2, style.lines(name, -left, SIZE), va="center")
            for column, cell in enumerate(row):
                _draw_cell(axes, column * CELL, top, cell, span)
            top -= ROW
    groups = tables.first("groups")
    counts = counts_text(at_best_rate(groups), "a cell", images=True)
    caption = (
        f"reproducibility and, in round brackets, {_accuracy(groups)}, in percent with 95 % intervals; the darker, the "
        f"more reproducible; {counts}{rates_note(groups)}{left_out_note(groups)}"
    )
    return style.inscribe(figure, title_of("recipe_table", tables.sweep), caption)


def recipe_table_tex(tables: SweepTables) -> bytes:
    """The same for LaTeX with the package booktabs."""
    cells, columns, sections = _content(tables)
    planes = tables.sweep.planes[tables.plane_set].count
    counts = f"{range_text(cells[cells['n_models'] > 0]['n_models'])} trainings each, {planes} planes"
    rows = {(heading, name): [*map(_latex_cell, row)] for heading, rows in sections.items() for name, row in rows}
    table = pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows), columns).droplevel([0] * ("" in sections))
    letters = "l" * table.index.nlevels + "c" * len(columns)
    latex = table.to_latex(escape=True, multirow=False, column_format=letters)
    about = f"% {title_of('recipe_table', tables.sweep)}: reproducibility [95 % interval] (accuracy), in percent"
    return f"{about}\n% {counts}; needs booktabs\n{latex}".encode()


def _content(tables: SweepTables) -> tuple[pd.DataFrame, list[str], Sections]:
    """The first planes' rows of `by_recipe`, the names of the columns, and the sections."""
    cells = tables.first("by_recipe")
    cells = cells.assign(network=names_of(cells, NETWORK))
    across, down = "recipe", "network"
    if cells["recipe"].nunique() > max(MAX_COLUMNS, cells["network"].nunique()):
        across, down = down, across
    columns = list(dict.fromkeys(cells[across]))
    noisy = cells["label_noise"].nunique() > 1
    sections: Sections = {}
    for noise, of_noise in cells.groupby("label_noise"):
        known = {(of[down], of[across]): of if of["n_models"] else what_happened(of) for of in records(of_noise)}
        rows = [(name, [known.get((name, column), "") for column in columns]) for name in of_noise[down].unique()]
        sections[f"label noise {noise:g}" * noisy] = rows
    return cells, columns, sections


def _draw_cell(axes: Axes, left: float, top: float, cell: dict[str, Any] | str, span: tuple[float, float]) -> None:
    middle = left + CELL / 2
    if isinstance(cell, str):
        axes.text(middle, top - ROW / 2, cell, color="0.4", **MIDDLE)
        return
    value = cell["reproducibility"]
    if not pd.isna(value):
        depth = (value - span[0]) / (span[1] - span[0]) if span[1] > span[0] else 0.0
        colour = colormaps["Blues"](LIGHTEST + depth * (DARKEST - LIGHTEST))
        axes.add_patch(Rectangle((left + 0.03, top - ROW + 0.02), CELL - 0.06, ROW - 0.04, color=colour, linewidth=0))
    same, right = (_percent(cell, score) for score in ("reproducibility", "accuracy"))
    axes.text(middle, top - 0.4 * ROW, str(same), fontsize=SIZE, **MIDDLE)
    axes.text(middle, top - 0.75 * ROW, f"({right})", fontsize=7.5, color="0.25", **MIDDLE)


def _latex_cell(cell: dict[str, Any] | str) -> str:
    if isinstance(cell, str):
        return cell
    return f"{_percent(cell, 'reproducibility')} ({_percent(cell, 'accuracy').text})"


def _percent(cell: dict[str, Any], score: str) -> Cell:
    """A share in percent, without the sign."""
    return score_cell(cell, score, 1, scale=100)


def _accuracy(groups: pd.DataFrame) -> str:
    return "accuracy" if groups["tested_on"].iloc[0] == "test" else "held-out accuracy"


MAX_POINTS = 24


def by_recipe(tables: SweepTables) -> Figure:
    """A panel for each label noise, and in it a point for each group with two intervals, at most `MAX_POINTS` in all.

    Colours stand for recipes and markers for networks, or both for what varies.
    """
    groups = tables.first("groups")
    every = at_best_rate(groups)
    best = every.iloc[evenly(len(every), MAX_POINTS)]
    best = with_accuracy(best.assign(network=names_of(best, NETWORK)))
    by_colour = "recipe" if several_recipes(best) else "network"
    by_marker = "recipe" if best["network"].nunique() == 1 else "network"
    colours, markers = _cycled(best[by_colour], style.SERIES_COLOURS), _cycled(best[by_marker], style.MARKERS)
    if by_colour == by_marker:
        handles = [style.key_line(name, colour, markers[name], "none", 6) for name, colour in colours.items()]
    else:
        handles = [style.key_line(name, colour, "s", "none", 6) for name, colour in colours.items()]
        handles += [style.key_line("", "none")]
        handles += [style.key_line(name, "0.35", marker, "none", 6) for name, marker in markers.items()]
    noises = sorted(best["label_noise"].unique())
    longest = max(len(str(handle.get_label())) for handle in handles)
    width, height = 4.6 * len(noises) + 1.3 + 0.08 * longest, max(5.2, 0.19 * len(handles) + 0.8)
    figure, (row,) = style.panels(1, len(noises), width, height, sharey=True)
    for axes, noise in zip(row, noises, strict=True):
        for group in records(best[best["label_noise"] == noise]):
            colour, marker = colours[group[by_colour]], markers[group[by_marker]]
            style.interval_point(axes, group, "accuracy", "reproducibility", colour, marker, size=7)
        style.plain(axes)
        axes.xaxis.set_major_formatter("{x:.0%}")
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_xlabel(_accuracy(best))
        if len(noises) > 1:
            axes.set_title(f"label noise {noise:g}")
    row[0].set_ylabel("reproducibility")
    figure.legend(handles=handles, loc="outside right center")
    caption = (
        f"{part_of(len(best), len(every), 'groups')}{counts_text(best, 'a point', images=True)}{rates_note(groups)};\n"
        f"bars: 95 % intervals over trainings and planes, or images{left_out_note(groups)}"
    )
    return style.inscribe(figure, title_of("by_recipe", tables.sweep), caption)


def _cycled(names: "pd.Series[str]", values: Sequence[str]) -> dict[str, str]:
    """A value for each name, shifted by one in each round, so that no combination of colour and marker repeats."""
    count = len(values)
    return {name: values[(index + index // count) % count] for index, name in enumerate(names.unique())}


def learning_rates(tables: SweepTables) -> Figure:
    """A column for each network and label noise: error above, reproducibility below, one colour for each recipe.

    "x2" at the top of the error panel means that two trainings diverged.
    """
    groups = at_last_epoch(tables.first("groups"))
    groups = groups.assign(network=names_of(groups, NETWORK))
    columns = list(groups.groupby(["network", "label_noise"], sort=False))
    width = max(5.6, 2.9 * len(columns) + 0.8)
    figure, (above, below) = style.panels(2, len(columns), width, 6.4, sharex=True, sharey="row")
    diverged = bool(groups["n_diverged"].any())
    colours = _cycled(groups["recipe"], style.SERIES_COLOURS)
    for error, agreement, ((network, noise), rows) in zip(above, below, columns, strict=True):
        for index, (recipe, colour) in enumerate(colours.items()):
            of_recipe = rows[rows["recipe"] == recipe].sort_values("learning_rate")
            best = of_recipe[of_recipe["n_models"] > 0].sort_values(["test_error", "learning_rate"]).iloc[:1]
            for axes, score in ((error, "test_error"), (agreement, "reproducibility")):
                style.score_line(axes, of_recipe, "learning_rate", score, colour, recipe, at=(index, len(colours)))
                axes.scatter("learning_rate", score, 120, data=best, facecolors="none", edgecolors=colour)
            for row in records(of_recipe[of_recipe["n_diverged"] > 0]):
                look = {"color": colour, "ha": "center", "va": "bottom", "transform": error.get_xaxis_transform()}
                error.text(row["learning_rate"], 1.02 + 0.05 * index, f"x{row['n_diverged']}", fontsize=8, **look)
        noisy = groups["label_noise"].nunique() > 1
        error.set_title(f"{network}" + f"\nlabel noise {noise:g}" * noisy, pad=6 + (6 + 9 * len(colours)) * diverged)
        for axes in (error, agreement):
            style.plain(axes)
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter("{x:g}")
        agreement.set_xlabel("learning rate")
    above[0].set_ylabel(f"{groups['tested_on'].iloc[0]} error")
    above[0].yaxis.set_major_formatter("{x:.0%}")
    below[0].set_ylabel("reproducibility")
    if len(colours) > 1:
        above[0].legend(handles=[style.key_line(recipe, of, "o") for recipe, of in colours.items()], fontsize=8)
    crosses = " (x: how many diverged)" * diverged
    caption = (
        f"{counts_text(groups, 'a point', images=True)}; rings: smallest error;\n"
        f"bars: 95 % intervals over trainings and images or planes{left_out_note(groups)}{crosses}"
    )
    return style.inscribe(figure, title_of("learning_rates", tables.sweep), caption)
