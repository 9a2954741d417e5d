"""Reproducibility and accuracy by network and recipe: the paper's Table 1, as a picture and for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dbviz_ray.formatting import Cell, score_cell

from ..scores.groups import NETWORK, names_of, records
from ..tables.outcomes import what_happened
from ..tables.recipes import several_rates
from .style import inscribe, left_out_note, lines, range_text, title_of
from .sweep_tables import SweepTables

CELL, ROW, NAMES = 1.75, 0.46, 2.4
HEAD, SECTION = 0.42, 0.32
"""Width of a cell, height of a row, largest width of row names, heights of headings; in inches."""
SIZE = 9.5
MAX_COLUMNS = 8
LIGHTEST, DARKEST = 0.05, 0.5
"""Ends of the blue scale behind cells, on which black letters are legible."""


@dataclass(frozen=True)
class Section:
    """Networks and recipes at one label noise."""

    noise: float
    rows: Sequence[tuple[str, Sequence[dict[str, Any] | None]]]
    """A row's name, and the row of `by_recipe` for each column; None where there is none."""


def recipe_table(tables: SweepTables) -> Figure:
    """Rows networks, columns recipes; the darker a cell, the more reproducible. One section a label noise. Many recipes
    are rows.

    From the first plane set's rows of the table `by_recipe`.
    """
    cells, columns, sections = _content(tables)
    names = [name for section in sections for name, _ in section.rows]
    wide = min(NAMES, 0.085 * max(map(len, names)) + 0.2)
    headings = len(sections) if len(sections) > 1 else 0
    count = sum(len(section.rows) for section in sections)
    width, height = wide + CELL * len(columns), HEAD + ROW * count + SECTION * headings
    figure = Figure(figsize=(max(5.4, width + 0.2), height + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(-wide, CELL * len(columns)), ylim=(-height, 0))
    for column, name in enumerate(columns):
        axes.text((column + 0.5) * CELL, -HEAD / 2, lines(name, CELL, SIZE), ha="center", va="center", weight="bold")
    known = cells["reproducibility"].dropna()
    span = (known.min(), known.max()) if len(known) else (0.0, 1.0)
    top = -HEAD
    for y, weight in ((0, 1.4), (top, 0.8), (-height, 1.4)):
        axes.plot([-wide, CELL * len(columns)], [y, y], color="black", linewidth=weight, clip_on=False)
    for section in sections:
        if headings:
            axes.text(
                -wide, top - SECTION / 2, f"label noise {section.noise:g}", va="center", style="italic", color="0.3"
            )
            top -= SECTION
        for name, row in section.rows:
            axes.text(-wide, top - ROW / 2, lines(name, wide, SIZE), va="center")
            for column, cell in enumerate(row):
                _draw_cell(axes, column * CELL, top, cell, span)
            top -= ROW
    inscribe(figure, title_of(tables.sweep), _caption(tables, cells))
    return figure


def recipe_table_latex(tables: SweepTables) -> str:
    """The same for LaTeX with the package booktabs: reproducibility with its interval and, in brackets, accuracy, in
    percent."""
    cells, columns, sections = _content(tables)
    body: list[str] = []
    for section in sections:
        if len(sections) > 1:
            heading = rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{label noise {section.noise:g}}}}} \\"
            body += [r"\midrule"] * bool(body) + [heading]
        for name, row in section.rows:
            body.append(" & ".join([_escaped(name), *map(_latex_cell, row)]) + r" \\")
    head = " & ".join(["", *(_escaped(column) for column in columns)]) + r" \\"
    planes = tables.sweep.planes[tables.plane_set].count
    counts = f"{range_text(cells[cells['n_models'] > 0]['n_models'])} trainings each, {planes} planes"
    return "\n".join(
        [
            f"% {title_of(tables.sweep)}: reproducibility [95 % interval] (accuracy), in percent; {counts}; "
            "needs booktabs",
            rf"\begin{{tabular}}{{l{'c' * len(columns)}}}",
            r"\toprule",
            head,
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _content(tables: SweepTables) -> tuple[pd.DataFrame, list[str], list[Section]]:
    """The first planes' rows of `by_recipe`, the names of the columns, and the sections."""
    cells = tables.table("by_recipe")
    cells = cells[cells["plane_set"] == tables.plane_set]
    cells = cells.assign(network=names_of(cells, NETWORK))
    across, down = "recipe", "network"
    if cells["recipe"].nunique() > max(MAX_COLUMNS, cells["network"].nunique()):
        across, down = down, across
    columns = list(dict.fromkeys(cells[across]))
    sections = []
    for noise, of_noise in cells.groupby("label_noise"):
        by_place = {(cell[down], cell[across]): cell for cell in records(of_noise)}
        names = dict.fromkeys(of_noise[down])
        rows = [(name, [by_place.get((name, column)) for column in columns]) for name in names]
        sections.append(Section(float(str(noise)), rows))
    return cells, columns, sections


def _draw_cell(axes: Axes, left: float, top: float, cell: dict[str, Any] | None, span: tuple[float, float]) -> None:
    middle = left + CELL / 2
    if cell is None or cell["n_models"] == 0:
        text = "" if cell is None else what_happened(cell)
        axes.text(middle, top - ROW / 2, text, ha="center", va="center", color="0.4")
        return
    value = cell["reproducibility"]
    if not pd.isna(value):
        depth = (value - span[0]) / (span[1] - span[0]) if span[1] > span[0] else 0.0
        colour = colormaps["Blues"](LIGHTEST + depth * (DARKEST - LIGHTEST))
        axes.add_patch(Rectangle((left + 0.03, top - ROW + 0.02), CELL - 0.06, ROW - 0.04, color=colour, linewidth=0))
    same, right = (_percent(cell, score) for score in ("reproducibility", "accuracy"))
    axes.text(middle, top - 0.4 * ROW, str(same), ha="center", va="center", fontsize=SIZE)
    axes.text(middle, top - 0.75 * ROW, f"({right})", ha="center", va="center", fontsize=7.5, color="0.25")


def _percent(cell: dict[str, Any], score: str) -> Cell:
    """A share in percent, without the sign."""
    return score_cell(cell, score, 1, scale=100)


def _latex_cell(cell: dict[str, Any] | None) -> str:
    if cell is None or cell["n_models"] == 0:
        return "" if cell is None else what_happened(cell)
    return f"{_percent(cell, 'reproducibility')} ({_percent(cell, 'accuracy').text})"


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)


def _caption(tables: SweepTables, cells: pd.DataFrame) -> str:
    groups = tables.table("groups")
    groups = groups[groups["plane_set"] == cells["plane_set"].iloc[0]]
    trained = groups[groups["n_models"] > 0]
    rates = "; each at its best learning rate" if several_rates(groups) else ""
    accuracy = "accuracy" if groups["tested_on"].iloc[0] == "test" else "held-out accuracy"
    return (
        f"reproducibility and, in brackets, {accuracy}, in percent with 95 % intervals; the darker, the more "
        f"reproducible; {range_text(cells[cells['n_models'] > 0]['n_models'])} trainings a cell, "
        f"{trained['n_planes'].iloc[0]} planes, {trained['n_test_images'].iloc[0]} images{rates}"
        f"{left_out_note(groups)}"
    )
