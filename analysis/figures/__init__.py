"""Pictures, drawn from stored tables only."""

from __future__ import annotations

import io
from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.figures.decision_regions import decision_regions
from analysis.figures.double_descent import double_descent
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

FIGURES: dict[str, Callable[[Store, SweepConfig], Figure]] = {
    "double_descent": double_descent,
    "decision_regions": decision_regions,
}


def draw_figures(store: Store, sweep: SweepConfig) -> dict[str, Figure]:
    """Draw every figure and store it as a PNG; returns them by name."""
    figures = {name: draw(store, sweep) for name, draw in FIGURES.items()}
    for name, figure in figures.items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150)
        store.write(store.figure_file(name), picture.getvalue())
    return figures
