"""Scores over width and epoch together, as in Nakkiran et al., arXiv 1912.02292, Figure 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, PercentFormatter
from numpy.typing import NDArray

from ..findings.curves import EPOCH, THRESHOLD_ERROR, Curve, curves, interpolation_threshold
from ..scores.groups import NAMING, names_of
from .style import inscribe, left_out_note, nothing_left, part_of, range_text, spaced, title_of
from .sweep_tables import SweepTables, surfaces

MAX_SURFACES = 2
SCORES = {
    "test_error": "error",
    "reproducibility": "reproducibility",
    "fragmentation": "regions per plane",
    "margin": "distance to the boundary",
}
THRESHOLD_COLOUR = "#EE3377"
Floats = NDArray[np.float64]


def error_surface(tables: SweepTables) -> Figure:
    """A row of heat maps for each surface, at most two, of the largest label noises; widths across, epochs upwards.

    A line marks the epoch from which on the training error is at most `THRESHOLD_ERROR`. Drawn from the first plane
    set.
    """
    groups = tables.first("groups")
    found = surfaces(groups)
    if not found:
        return nothing_left(tables.sweep, groups, "network at several widths and epochs is")
    shown = found[:MAX_SURFACES]
    scores = pd.concat(shown)[list(SCORES)]
    known = [score for score in SCORES if scores[score].notna().any()]
    widths = max(rows["width"].nunique() for rows in shown)
    size = (len(known) * max(2.5, 0.2 * widths + 1.7) + 0.8, 3.9 * len(shown) + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(shown), len(known), squeeze=False)
    for column, score in enumerate(known):
        values = [_values(rows, score) for rows in shown]
        # Early epochs have such large errors and margins that few colours would be left for the rest.
        norm = PowerNorm(0.5 if score in ("test_error", "margin") else 1.0, scores[score].min(), scores[score].max())
        for axes, rows, of_rows in zip(grid[:, column], shown, values, strict=True):
            _draw(axes, rows, of_rows, norm, first=column == 0)
        label = f"{groups['tested_on'].iloc[0]} error" if score == "test_error" else SCORES[score]
        grid[0, column].set_title(label, fontsize=10)
        percent = PercentFormatter(1, decimals=0) if score == "test_error" else None
        figure.colorbar(grid[0, column].collections[0], ax=grid[:, column], format=percent, aspect=30, pad=0.03)
    for axes, name in zip(grid[:, 0], _names(shown), strict=True):
        axes.set_ylabel(f"{name}\nepoch" if len(shown) > 1 else "epoch")
    common = "" if len(shown) > 1 else _names(shown)[0]
    inscribe(figure, title_of(tables.sweep, common), _caption(groups, shown, known, len(found)))
    return figure


def _names(shown: Sequence[pd.DataFrame]) -> list[str]:
    firsts = pd.concat([rows.iloc[:1] for rows in shown])
    names = names_of(firsts, [column for column in NAMING if column != "width"])
    return [f"{name}, label noise {noise:g}" for name, noise in zip(names, firsts["label_noise"], strict=True)]


def _values(rows: pd.DataFrame, score: str) -> Floats:
    """A score `[epochs, widths]`, ascending; NaN for a missing group."""
    return np.asarray(rows.pivot(index="epoch", columns="width", values=score).to_numpy(), dtype=float)


def _draw(axes: Axes, rows: pd.DataFrame, values: Floats, norm: PowerNorm, *, first: bool) -> None:
    widths, kept = sorted(rows["width"].unique()), sorted(rows["epoch"].unique())
    edges = _edges(np.array(kept, dtype=float))
    axes.set_facecolor("0.85")
    axes.pcolormesh(np.arange(len(widths) + 1) - 0.5, edges, values, cmap="cividis", norm=norm)
    _draw_threshold(axes, rows, edges)
    axes.set_yscale("log")
    labels = spaced(kept, room=1.6)
    axes.set_yticks(labels, labels=[str(epoch) for epoch in labels] if first else [])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xticks(range(len(widths)), labels=widths, rotation=90 if len(widths) > 6 else 0, fontsize=8.5)
    axes.set_xlabel("width")


def _edges(kept: Floats) -> Floats:
    """Borders of cells on a log axis: midway between epochs, and equally far beyond the ends; `[epochs + 1]`."""
    logs = np.log(kept)
    middles = (logs[1:] + logs[:-1]) / 2
    return np.asarray(np.exp([2 * logs[0] - middles[0], *middles, 2 * logs[-1] - middles[-1]]))


def _draw_threshold(axes: Axes, rows: pd.DataFrame, edges: Floats) -> None:
    """Draw a line below the first cell of each width that interpolates, at the top if none does."""
    by_width: dict[int, Curve] = {int(curve.rows["width"][0]): curve for curve in curves(rows, EPOCH)}
    kept, widths = sorted(rows["epoch"].unique()), sorted(rows["width"].unique())
    thresholds = [interpolation_threshold(by_width[width]) if width in by_width else None for width in widths]
    heights = [edges[kept.index(epoch)] if epoch else edges[-1] for epoch in thresholds]
    if any(thresholds):
        places = np.arange(len(widths) + 1) - 0.5
        axes.plot(places, [*heights, heights[-1]], color=THRESHOLD_COLOUR, drawstyle="steps-post", linewidth=2)


def _caption(groups: pd.DataFrame, shown: Sequence[pd.DataFrame], known: Sequence[str], found: int) -> str:
    rows = pd.concat(shown)
    reach = {score: ((rows[f"{score}_high"] - rows[f"{score}_low"]) / 2).median() for score in known}
    texts = [
        f"{groups['tested_on'].iloc[0]} error ±{100 * half:.2g} %" if score == "test_error"
        else f"{SCORES[score]} ±{half:.2g}"
        for score, half in reach.items() if np.isfinite(half)
    ]  # fmt: skip
    images = rows["n_margin_images"].max()
    margins = f", {images} images for distances (L2 in normalised pixels)" if images else ""
    return (
        f"{part_of(len(shown), found, 'surfaces')}{range_text(rows['n_models'])} trainings a cell, "
        f"{rows['n_planes'].iloc[0]} planes{margins}; half of the 95 % intervals (over trainings, images or planes)\n"
        f"are narrower than {', '.join(texts)}; above the line: training error at most "
        f"{THRESHOLD_ERROR:.0%}{left_out_note(groups)}"
    )
