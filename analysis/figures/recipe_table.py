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

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..scores.groups import NETWORK, names_of, records
from ..tables import read_table
from ..tables.outcomes import what_happened
from ..tables.recipes import at_best_rate, several_rates
from .line_breaks import lines
from .style import inscribe, left_out_note, range_text, title_of

CELL, ROW, NAMES = 1.75, 0.46, 2.4
HEAD, SECTION = 0.42, 0.32
"""Width of a cell, height of a row, and the most that names of rows are wide; heights of headings; in inches."""
SIZE = 9.5
MAX_COLUMNS = 8
LIGHTEST, DARKEST = 0.05, 0.5
"""Ends of the blue scale behind cells, on which black letters can be read."""


@dataclass(frozen=True)
class Section:
    """Networks and recipes at one label noise."""

    noise: float
    rows: Sequence[tuple[str, Sequence[dict[str, Any] | None]]]
    """A row's name, and the group for each column; None where there is none."""


def recipe_table(store: Store, sweep: SweepConfig) -> Figure:
    """Rows networks, columns recipes; the darker a cell, the more reproducible. One section a label noise. Many recipes
    are rows.

    From the first plane set's rows of `groups`, at the best learning rate where there are several.
    """
    groups, best, columns, sections = _content(store, sweep)
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
    known = best["reproducibility"].dropna()
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
        for name, cells in section.rows:
            axes.text(-wide, top - ROW / 2, lines(name, wide, SIZE), va="center")
            for column, group in enumerate(cells):
                _draw_cell(axes, column * CELL, top, group, span)
            top -= ROW
    inscribe(figure, title_of(sweep), _caption(best, groups))
    return figure


def recipe_table_latex(store: Store, sweep: SweepConfig) -> str:
    """The same for LaTeX with the package booktabs: reproducibility with its interval and, in brackets, accuracy, in
    percent."""
    _, best, columns, sections = _content(store, sweep)
    body: list[str] = []
    for section in sections:
        if len(sections) > 1:
            heading = rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{\emph{{label noise {section.noise:g}}}}} \\"
            body += [r"\midrule"] * bool(body) + [heading]
        for name, cells in section.rows:
            body.append(" & ".join([_escaped(name), *(_latex_cell(group) for group in cells)]) + r" \\")
    head = " & ".join(["", *(_escaped(column) for column in columns)]) + r" \\"
    counts = f"{range_text(best[best['n_models'] > 0]['n_models'])} trainings each, {best['n_planes'].iloc[0]} planes"
    return "\n".join(
        [
            f"% {title_of(sweep)}: reproducibility [95 % interval] (accuracy), in percent; {counts}; needs booktabs",
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


def _content(store: Store, sweep: SweepConfig) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[Section]]:
    """The first planes' rows of `groups`, those that are shown, the names of the columns, and the sections."""
    groups = read_table(store, "groups")
    groups = groups[groups["plane_set"] == next(iter(sweep.planes))]
    best = at_best_rate(groups)
    best = best.assign(network=names_of(best, NETWORK))
    across, down = "recipe", "network"
    if best["recipe"].nunique() > max(MAX_COLUMNS, best["network"].nunique()):
        across, down = down, across
    columns = list(dict.fromkeys(best[across]))
    sections = []
    for noise, of_noise in best.groupby("label_noise"):
        rows = []
        for name in dict.fromkeys(of_noise[down]):
            cells = {group[across]: group for group in records(of_noise[of_noise[down] == name])}
            rows.append((name, [cells.get(column) for column in columns]))
        sections.append(Section(float(str(noise)), rows))
    return groups, best, columns, sections


def _draw_cell(axes: Axes, left: float, top: float, group: dict[str, Any] | None, span: tuple[float, float]) -> None:
    middle = left + CELL / 2
    if group is None or group["n_models"] == 0:
        text = "" if group is None else what_happened(group)
        axes.text(middle, top - ROW / 2, text, ha="center", va="center", color="0.4")
        return
    value = group["reproducibility"]
    if not pd.isna(value):
        depth = (value - span[0]) / (span[1] - span[0]) if span[1] > span[0] else 0.0
        colour = colormaps["Blues"](LIGHTEST + depth * (DARKEST - LIGHTEST))
        axes.add_patch(Rectangle((left + 0.03, top - ROW + 0.02), CELL - 0.06, ROW - 0.04, color=colour, linewidth=0))
    same, right = _texts(group)
    axes.text(middle, top - 0.4 * ROW, same, ha="center", va="center", fontsize=SIZE)
    axes.text(middle, top - 0.75 * ROW, f"({right})", ha="center", va="center", fontsize=7.5, color="0.25")


def _texts(group: dict[str, Any]) -> tuple[str, str]:
    """Reproducibility and accuracy, in percent with their intervals."""
    same = [100 * group[f"reproducibility{end}"] for end in ("", "_low", "_high")]
    right = [100 * (1 - group[f"test_error{end}"]) for end in ("", "_high", "_low")]
    first, second = ("{:.1f} [{:.1f}, {:.1f}]".format(*values) for values in (same, right))
    return "-" if pd.isna(same[0]) else first, second


def _latex_cell(group: dict[str, Any] | None) -> str:
    if group is None or group["n_models"] == 0:
        return "" if group is None else what_happened(group)
    same, right = _texts(group)
    return f"{same} ({right.partition(' ')[0]})"


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "&%$#_{}" else letter for letter in text)


def _caption(best: pd.DataFrame, groups: pd.DataFrame) -> str:
    counted = best[best["n_models"] > 0]
    rates = "; each at its best learning rate" if several_rates(groups) else ""
    accuracy = "accuracy" if best["tested_on"].iloc[0] == "test" else "held-out accuracy"
    return (
        f"reproducibility and, in brackets, {accuracy}, in percent with 95 % intervals; the darker, the more "
        f"reproducible; {range_text(counted['n_models'])} trainings a cell, {counted['n_planes'].iloc[0]} planes, "
        f"{counted['n_test_images'].iloc[0]} images{rates}{left_out_note(groups)}"
    )
