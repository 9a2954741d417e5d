"""Pictures, drawn from stored tables only."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib import rc_context
from matplotlib.figure import Figure

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.store import Store

from ..scores.groups import groups_of
from .files import DOTS, encoded
from .kinds import FIGURES, SUFFIXES, FigureKind
from .style import STYLE

__all__ = ["DOTS", "FIGURES", "SUFFIXES", "FigureKind", "chosen_figures", "draw_figures", "figures_of"]


def figures_of(sweep: SweepConfig) -> dict[str, FigureKind]:
    """The figures that a sweep has, by name; what it varies decides (`FigureKind.had_by`)."""
    groups = groups_of(sweep)
    return {name: kind for name, kind in FIGURES.items() if kind.suits(sweep, groups)}


def chosen_figures(sweep: SweepConfig, names: Iterable[str] = ()) -> dict[str, FigureKind]:
    """Those of `figures_of` that are called `names`, all if there are none. UserError for one that it does not have."""
    kinds, wanted = figures_of(sweep), list(names)
    for name in wanted:
        if name not in kinds:
            raise UserError(f"figure: {name} is not one of this sweep; allowed: {', '.join(kinds)}")
    return {name: kind for name, kind in kinds.items() if name in (wanted or kinds)}


def draw_figures(store: Store, sweep: SweepConfig, names: Iterable[str] = ()) -> dict[str, Figure]:
    """Draw the figures called `names`, by default all, and store each as all its `suffixes`; returns them by name.

    Raises UserError for a figure that the sweep does not have.
    """
    return {name: _draw(store, sweep, name, kind) for name, kind in chosen_figures(sweep, names).items()}


def _draw(store: Store, sweep: SweepConfig, name: str, kind: FigureKind) -> Figure:
    with rc_context(STYLE):
        figure = kind.draw(store, sweep)
        for suffix in SUFFIXES:
            store.write(store.figure_file(name, suffix), encoded(figure, suffix))
        if kind.animate is not None:
            store.write(store.figure_file(name, "gif"), kind.animate(store, sweep).gif())
    if kind.latex is not None:
        store.write(store.figure_file(name, "tex"), kind.latex(store, sweep).encode())
    return figure
