"""How much trainings of every two kinds agree: the paper's Figure 4."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..scores.groups import NAMING, name_parts
from ..tables.pairs import MAX_GROUPS
from ..tables.recipes import at_best_rate
from .captions import counts_text, left_out_note, rates_note, title_of
from .style import inscribe, lines, panels
from .sweep_tables import SweepTables, told_apart

FEW = 12
"""Up to this many groups, cells have space for intervals."""
LEAST_SPAN = 0.1
NAME_SIZE, MARGIN = 8.5, 2.0
"""Font size of the names of groups, in points, and the width of their lines, in inches."""
CELL = 0.62
"""The side of a cell with an interval, in inches; other cells are smaller."""


def reproducibility_matrix(tables: SweepTables) -> Figure:
    """A panel for each label noise: rows and columns are groups at their best learning rates."""
    groups, between = tables.first("groups"), tables.first("between_groups")
    last = at_best_rate(groups)
    names, common = told_apart(name_parts(last))
    last = last.assign(name=[lines(", ".join(name), MARGIN, NAME_SIZE) for name in names])
    of_noises = [rows for _, rows in last.groupby("label_noise") if len(rows) <= MAX_GROUPS]
    largest = max(map(len, of_noises))
    cell = CELL if largest <= FEW else 0.4
    margin = 0.085 * max(len(line) for name in last["name"] for line in name.split("\n"))
    upright = any("\n" in name for name in last["name"])
    width = max(5.4, (largest * cell + 0.25) * len(of_noises) + margin + 1.25)
    height = largest * cell + (1.0 if upright else 0.65) * margin + 1.05 + 0.2 * (len(of_noises) > 1)
    figure, (row,) = panels(1, len(of_noises), width, height)
    values = [matrix_values(rows, between) for rows in of_noises]
    span = span_of(np.concatenate([of_panel.ravel() for of_panel, _ in values]))
    for axes, rows, of_panel in zip(row, of_noises, values, strict=True):
        draw_matrix(axes, rows["name"].tolist(), *of_panel, span)
        if len(of_noises) > 1:
            axes.set_title(f"label noise {rows['label_noise'].iloc[0]:g}")
        if axes is not row[0]:
            axes.set_yticklabels([])
    bar: dict[str, Any] = {"shrink": 0.8, "aspect": 25, "pad": 0.02, "ticks": MaxNLocator(6, steps=[1, 2, 5, 10])}
    bar["panchor"] = (1.0, 1.0)  # the remaining space lies below
    figure.colorbar(row[-1].images[0], ax=row, label="reproducibility", **bar)
    half = "±: half a 95 % interval over trainings and planes" if largest <= FEW else "intervals: scores/between_groups"
    caption = (
        f"{counts_text(last, 'of each kind')}{rates_note(groups)};\n"
        f"{half}; framed: two trainings of one kind{left_out_note(groups)}"
    )
    return inscribe(figure, title_of("reproducibility_matrix", tables.sweep, *common), caption)


def matrix_values(rows: pd.DataFrame, between: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reproducibility and the half-width of its interval, `[groups, groups]` each.

    `rows` are those of one label noise and plane set in the table `groups`; `between` is `between_groups` of that set.
    """
    place = {key: index for index, key in enumerate(rows[NAMING].itertuples(index=False, name=None))}
    value, reach = (np.full((len(rows), len(rows)), np.nan) for _ in range(2))
    np.fill_diagonal(value, rows["reproducibility"])
    np.fill_diagonal(reach, (rows["reproducibility_high"] - rows["reproducibility_low"]) / 2)
    cells = between[between["label_noise"] == rows["label_noise"].iloc[0]]
    sides = (cells[[f"{column}_{side}" for column in NAMING]].itertuples(index=False, name=None) for side in "ab")
    a, b = ([place[key] for key in keys] for keys in sides)
    value[a, b] = value[b, a] = cells["reproducibility"]
    reach[a, b] = reach[b, a] = (cells["reproducibility_high"] - cells["reproducibility_low"]) / 2
    return value, reach


def span_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of a colour scale for these values, far enough apart that chance differences look small."""
    known = values[~np.isnan(values)]
    highest = float(known.max()) if len(known) else 1.0
    return min(float(known.min()) if len(known) else 0.0, highest - LEAST_SPAN), highest


def draw_matrix(
    axes: Axes,
    names: Sequence[str],
    value: NDArray[np.float64],
    reach: NDArray[np.float64],
    span: tuple[float, float] | None = None,
) -> None:
    """Draw cells `[names, names]`, with the half-widths of their intervals if there is space; the diagonal is framed.

    `span` is the colour scale; by default `span_of` the values.
    """
    count = len(names)
    lowest, highest = span or span_of(value)
    axes.imshow(value, cmap="cividis", vmin=lowest, vmax=highest)
    for (row, column), share in np.ndenumerate(value):
        dark = share < lowest + 0.55 * (highest - lowest)
        style: dict[str, Any] = {"ha": "center", "color": "white" if dark else "black"}
        if np.isnan(share):
            axes.text(column, row, "-", ha="center", va="center", color="0.3")
        elif count > FEW:
            axes.text(column, row, _share(share), va="center", fontsize=7, **style)
        else:
            axes.text(column, row - 0.02, _share(share), va="bottom", fontsize=10, **style)
            axes.text(column, row + 0.08, f"±{_share(float(reach[row, column]))}", va="top", fontsize=7, **style)
    for place in range(count):
        for inset, colour in ((0.0, "black"), (0.03, "white")):
            corner, side = (place - 0.5 + inset, place - 0.5 + inset), 1 - 2 * inset
            axes.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=1.4))
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    turned: dict[str, Any] = {"rotation": 90} if any("\n" in name for name in names) else slanted
    axes.set_xticks(range(count), labels=names, fontsize=NAME_SIZE, **turned)
    axes.set_yticks(range(count), labels=names, fontsize=NAME_SIZE)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"
