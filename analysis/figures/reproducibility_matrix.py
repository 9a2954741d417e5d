"""How far trainings of every two kinds agree: the paper's Figure 4."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from analysis.figures.style import inscribe, left_out_note, range_text, title_of
from analysis.groups import NAMING, NETWORK, at_last_epoch, names_of, records
from analysis.recipes import at_best_rate, several_rates
from analysis.tables import read_table
from analysis.tables.between_groups import MAX_GROUPS
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

FEW = 12
"""Up to as many groups there is room for the intervals in the cells."""
CELL = 0.62
"""Side of a cell with an interval, in inches; others are smaller."""


def fits_matrix(groups: pd.DataFrame) -> bool:
    """Whether there are at most as many groups of some label noise as the table `between_groups` takes."""
    kinds = at_last_epoch(groups).drop_duplicates([*NETWORK, "label_noise", "recipe"])
    return bool(kinds["label_noise"].value_counts().min() <= MAX_GROUPS)


def reproducibility_matrix(store: Store, sweep: SweepConfig) -> Figure:
    """A panel for each label noise: rows and columns groups at their last epochs (and best learning rates); framed:
    within a group.

    From the first plane set's rows of `groups` (diagonal) and `between_groups`.
    """
    plane_set = next(iter(sweep.planes))
    groups, between = (read_table(store, name) for name in ("groups", "between_groups"))
    groups, between = (table[table["plane_set"] == plane_set] for table in (groups, between))
    last = at_best_rate(groups)
    last = last.assign(name=names_of(last))
    panels = [rows for _, rows in last.groupby("label_noise") if len(rows) <= MAX_GROUPS]
    largest = max(len(rows) for rows in panels)
    cell = CELL if largest <= FEW else 0.4
    margin = 0.085 * last["name"].str.len().max()
    figure = Figure(
        figsize=(max(6.4, (largest * cell + 0.3) * len(panels) + margin + 1), largest * cell + 0.6 * margin + 1.4),
        layout="constrained",
    )
    row = figure.subplots(1, len(panels), squeeze=False)[0]
    values = [matrix_values(rows, between) for rows in panels]
    lowest = np.nanmin([np.nanmin(of_panel) if not np.isnan(of_panel).all() else 0 for of_panel, *_ in values])
    for axes, rows, of_panel in zip(row, panels, values, strict=True):
        draw_matrix(axes, rows["name"].tolist(), *of_panel, lowest=float(lowest))
        if len(panels) > 1:
            axes.set_title(f"label noise {rows['label_noise'].iloc[0]:g}", fontsize=10)
        if axes is not row[0]:
            axes.set_yticklabels([])
    figure.colorbar(row[-1].images[0], ax=row, shrink=0.7, label="reproducibility")
    inscribe(figure, title_of(sweep), _caption(last, groups, largest <= FEW))
    return figure


def matrix_values(rows: pd.DataFrame, between: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reproducibility, and half the length of its interval, `[groups, groups]` each.

    Args:
        rows: Of `groups`, of one label noise and plane set.
        between: The table `between_groups` of that plane set.
    """
    place = {key: index for index, key in enumerate(rows[NAMING].itertuples(index=False, name=None))}
    value, reach = (np.full((len(rows), len(rows)), np.nan) for _ in range(2))
    np.fill_diagonal(value, rows["reproducibility"])
    np.fill_diagonal(reach, (rows["reproducibility_high"] - rows["reproducibility_low"]) / 2)
    cells = between[between["label_noise"] == rows["label_noise"].iloc[0]]
    sides = [cells[[f"{column}_{side}" for column in NAMING]].itertuples(index=False, name=None) for side in "ab"]
    for of_a, of_b, cell in zip(*sides, records(cells), strict=True):
        for index in ((place[of_a], place[of_b]), (place[of_b], place[of_a])):
            value[index] = cell["reproducibility"]
            reach[index] = (cell["reproducibility_high"] - cell["reproducibility_low"]) / 2
    return value, reach


def draw_matrix(
    axes: Axes, names: list[str], value: NDArray[np.float64], reach: NDArray[np.float64], lowest: float
) -> None:
    """Cells `[names, names]` with half the length of their intervals, if there is room; the diagonal is framed."""
    count = len(names)
    axes.imshow(value, cmap="cividis", vmin=lowest, vmax=1)
    for row in range(count):
        for column in range(count):
            if np.isnan(value[row, column]):
                axes.text(column, row, "-", ha="center", va="center", color="0.3")
                continue
            dark = value[row, column] < lowest + 0.55 * (1 - lowest)
            style: dict[str, Any] = {"ha": "center", "color": "white" if dark else "black"}
            if count > FEW:
                axes.text(column, row, _share(value[row, column]), va="center", fontsize=7, **style)
                continue
            axes.text(column, row - 0.02, _share(value[row, column]), va="bottom", fontsize=10, **style)
            axes.text(column, row + 0.08, f"±{_share(reach[row, column])}", va="top", fontsize=7, **style)
    for place in range(count):
        axes.add_patch(Rectangle((place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.6))
    axes.set_xticks(range(count), labels=names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8.5)
    axes.set_yticks(range(count), labels=names, fontsize=8.5)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _share(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 0.995 else "1"


def _caption(last: pd.DataFrame, groups: pd.DataFrame, with_reach: bool) -> str:
    rates = "; each at its best learning rate" if several_rates(groups) else ""
    counted = last[last["n_models"] > 0]
    reach = (
        "±: half a 95 % interval over trainings and planes; " if with_reach else "intervals: scores/between_groups; "
    )
    return (
        f"{range_text(counted['n_models'])} trainings of each kind, {counted['n_planes'].iloc[0]} planes{rates};\n"
        f"{reach}framed: two trainings of one kind{left_out_note(groups)}"
    )
