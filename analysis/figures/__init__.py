"""Pictures, drawn from stored tables only."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from matplotlib.figure import Figure

from analysis.curves import EPOCH, WIDTH, curves
from analysis.figures.animation import Animation
from analysis.figures.by_recipe import by_recipe
from analysis.figures.decision_regions import decision_regions
from analysis.figures.disagreement import disagreement
from analysis.figures.error_surface import error_surface, has_surface
from analysis.figures.learning_rates import learning_rates
from analysis.figures.margins import margins
from analysis.figures.over_curves import double_descent, epochs
from analysis.figures.plane_sets import plane_sets
from analysis.figures.reproducibility_matrix import reproducibility_matrix
from analysis.figures.resolution import finest_plane_set, resolution
from analysis.figures.streams import streams
from analysis.figures.training import moving, training
from analysis.groups import NETWORK, at_last_epoch, groups_of
from analysis.recipes import compares_recipes, several_rates
from analysis.tables import tables_of
from analysis.tables.between_groups import MAX_GROUPS
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.store import Store

Drawing = Callable[[Store, SweepConfig], Figure]
Animating = Callable[[Store, SweepConfig], Animation]
SUFFIXES = ("png", "pdf")
DOTS = 150
"""Dots an inch of PNGs, and of what is no vector in a PDF."""


@dataclass(frozen=True)
class FigureKind:
    """A figure that sweeps may have."""

    draw: Drawing
    title: str
    shows: str
    """What is to be seen in it, in a sentence or two that also say how to read it."""
    animate: Animating | None = None
    """The same, moving."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files that it is stored as: PNG, PDF and, of one that moves, GIF."""
        return SUFFIXES if self.animate is None else (*SUFFIXES, "gif")


FIGURES: dict[str, FigureKind] = {
    "double_descent": FigureKind(
        double_descent,
        "Double descent",
        "Errors, regions a plane, reproducibility and margins over the width of the network.",
    ),
    "epochs": FigureKind(epochs, "Over the training", "The same scores over the epochs of a training."),
    "error_surface": FigureKind(
        error_surface,
        "Over width and epoch",
        "Scores over width and epoch at once; above the line the training labels are memorised.",
    ),
    "training": FigureKind(
        training,
        "Regions during the training",
        "One plane over the epochs of a training; the GIF shows every epoch that was kept.",
        animate=moving,
    ),
    "plane_sets": FigureKind(
        plane_sets, "Planes of different kinds", "Regions and reproducibility on each of the plane sets."
    ),
    "margins": FigureKind(
        margins, "Margins", "How far images are from the decision boundary, correctly labelled and mislabelled ones."
    ),
    "streams": FigureKind(
        streams, "Random streams", "Which random stream makes another model, and how much of the disagreement."
    ),
    "resolution": FigureKind(
        resolution, "Resolution", "How counts of regions depend on the grid: all of them, and those of a least area."
    ),
    "learning_rates": FigureKind(
        learning_rates, "Learning rates", "Error and reproducibility over the learning rates that were tried."
    ),
    "reproducibility_matrix": FigureKind(
        reproducibility_matrix,
        "Reproducibility within and between kinds",
        "How far two trainings agree, of one kind (framed) and of two.",
    ),
    "by_recipe": FigureKind(
        by_recipe, "Reproducibility against accuracy", "A point for each network and recipe, with both intervals."
    ),
    "disagreement": FigureKind(
        disagreement,
        "Where two trainings disagree",
        "Two trainings that differ in their seeds alone, and what the second says where it says something else.",
    ),
    "decision_regions": FigureKind(
        decision_regions,
        "Decision regions",
        "One plane as trainings see it that differ in their seeds alone, and where they disagree.",
    ),
}


def figures_of(sweep: SweepConfig) -> dict[str, FigureKind]:
    """The figures that a sweep has, by name; what it varies decides.

    - `double_descent`: curves over three or more widths.
    - `epochs`, `training`: curves, and pictures, over kept epochs, if there are snapshots.
    - `error_surface`: over width and epoch at once, if there are two widths or more and three kept epochs or more.
    - `plane_sets`: if there are several.
    - `margins`: if they were asked for.
    - `streams`: if several random streams vary apart.
    - `resolution`: if the grid of any plane set contains a coarser one.
    - `learning_rates`: if a grid of learning rates was tried.
    - `reproducibility_matrix`, `by_recipe`: if there are several architectures, options or recipes; the matrix for
      at most as many groups as the table `between_groups` takes.
    - `disagreement`: if any model is trained more than once.
    - `decision_regions`: always.
    """
    groups = groups_of(sweep)
    last = at_last_epoch(groups)
    kinds = len(last.drop_duplicates(["architecture", "options", "recipe"]))
    by_noise = last.drop_duplicates([*NETWORK, "label_noise", "recipe"])["label_noise"].value_counts()
    compared = "reproducibility" in sweep.scores
    wanted = {
        "double_descent": bool(curves(groups, WIDTH)),
        "epochs": bool(curves(groups, EPOCH)),
        "error_surface": has_surface(groups),
        "training": bool(curves(groups, EPOCH)),
        "plane_sets": len(sweep.planes) > 1,
        "margins": sweep.margins is not None,
        "streams": compared and "streams" in tables_of(sweep),
        "resolution": "fragmentation" in sweep.scores and finest_plane_set(sweep) is not None,
        "learning_rates": several_rates(groups),
        "reproducibility_matrix": compared and kinds > 1 and by_noise.min() <= MAX_GROUPS,
        "by_recipe": compared and compares_recipes(groups),
        "disagreement": compared and len(sweep.models()) > len(last),
        "decision_regions": True,
    }
    return {name: kind for name, kind in FIGURES.items() if wanted[name]}


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
    kinds = chosen_figures(sweep, names)
    figures = {name: kind.draw(store, sweep) for name, kind in kinds.items()}
    for name, figure in figures.items():
        for suffix in SUFFIXES:
            picture = io.BytesIO()
            figure.savefig(picture, format=suffix, dpi=DOTS)
            store.write(store.figure_file(name, suffix), picture.getvalue())
        animate = kinds[name].animate
        if animate is not None:
            store.write(store.figure_file(name, "gif"), animate(store, sweep).gif())
    return figures
