"""Every figure that a sweep may have: how it is drawn, for which sweeps, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..findings.curves import EPOCH, WIDTH, curves
from ..scores.groups import at_last_epoch
from ..tables import tables_of
from ..tables.recipes import compares_recipes, several_rates, several_recipes
from .animation import Animation
from .by_recipe import by_recipe
from .decision_regions import architectures, decision_regions
from .disagreement import disagreement
from .error_surface import error_surface, has_surface
from .learning_rates import learning_rates
from .margins import margins
from .off_manifold import off_manifold
from .over_curves import double_descent, epochs
from .plane_sets import plane_sets
from .recipe_table import recipe_table, recipe_table_latex
from .reproducibility_matrix import fits_matrix, reproducibility_matrix
from .resolution import finest_plane_set, resolution
from .streams import streams
from .training import moving, training

SUFFIXES = ("png", "pdf")


@dataclass(frozen=True)
class FigureKind:
    """A figure that sweeps may have."""

    draw: Callable[[Store, SweepConfig], Figure]
    title: str
    shows: str
    """What is to be seen in it, and how to read it, in a sentence or two."""
    had_by: str
    """Which sweeps have it, in words."""
    suits: Callable[[SweepConfig, pd.DataFrame], bool]
    """Whether a sweep, with its groups (`groups_of`), has it."""
    animate: Callable[[Store, SweepConfig], Animation] | None = None
    """The same, moving."""
    latex: Callable[[Store, SweepConfig], str] | None = None
    """The same, for LaTeX."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Of the files that it is stored as: PNG, PDF, GIF if it moves, and tex if LaTeX can set it."""
        return (*SUFFIXES, *["gif"] * (self.animate is not None), *["tex"] * (self.latex is not None))


def _has_kinds(groups: pd.DataFrame) -> bool:
    """Whether there are several architectures, options or recipes."""
    return len(groups.drop_duplicates(["architecture", "options", "recipe"])) > 1


def _has_curves(groups: pd.DataFrame) -> bool:
    return bool(curves(groups, WIDTH) or curves(groups, EPOCH))


def _compares(sweep: SweepConfig) -> bool:
    return "reproducibility" in sweep.scores


FIGURES: dict[str, FigureKind] = {
    "double_descent": FigureKind(
        double_descent,
        "Double descent",
        "Errors, regions per plane, reproducibility and margins over the width of the network. Where double descent "
        "happens, the test error peaks close to the dotted line, from which on the training labels are memorised; "
        "there regions are most numerous, and two trainings agree least.",
        "three widths or more",
        lambda sweep, groups: bool(curves(groups, WIDTH)),
    ),
    "epochs": FigureKind(
        epochs,
        "Over the training",
        "The same scores over the epochs of a training. Test error that rises again while training error still falls "
        "tells that labels are being memorised; regions and disagreement grow with it.",
        "snapshots",
        lambda sweep, groups: bool(curves(groups, EPOCH)),
    ),
    "error_surface": FigureKind(
        error_surface,
        "Over width and epoch",
        "Scores over width and epoch at once; above the line the training labels are memorised. Follow a row to see "
        "what width does, and a column to see what training longer does.",
        "two widths and three kept epochs or more",
        lambda sweep, groups: has_surface(groups),
    ),
    "decision_regions": FigureKind(
        decision_regions,
        "Decision regions",
        "One plane through three images, as trainings see it that differ in their seeds alone, a colour a class. "
        "Regions that change from one training to the next are an accident of the seed; the grey rows show where "
        "that is so.",
        "curves, or one network alone",
        lambda sweep, groups: _has_curves(groups) or not _has_kinds(groups),
    ),
    "architectures": FigureKind(
        architectures,
        "Decision regions of every kind of network",
        "One plane through three images, a column a kind of network and a row a training, from the most to the least "
        "reproducible. Trainings of one architecture share shapes that those of another do not; the grey row shows "
        "where they disagree among themselves.",
        "several architectures, options or recipes",
        lambda sweep, groups: _has_kinds(groups),
    ),
    "training": FigureKind(
        training,
        "Regions during the training",
        "One plane over the epochs of a training, a row a network; the GIF shows every epoch that was kept. Regions "
        "that are stable early are those that trainings have in common.",
        "snapshots",
        lambda sweep, groups: bool(curves(groups, EPOCH)),
        animate=moving,
    ),
    "disagreement": FigureKind(
        disagreement,
        "Where two trainings disagree",
        "Two trainings that differ in their seeds alone, and what the second says where it says something else.",
        "several trainings of a network",
        lambda sweep, groups: _compares(sweep) and len(sweep.models()) > len(at_last_epoch(groups)),
    ),
    "off_manifold": FigureKind(
        off_manifold,
        "Planes off the data",
        "Planes through shuffled images, noise or along adversarial directions beside natural ones, and how many "
        "regions they have. Trainings that agree on natural planes, but not on these, have learned the data and "
        "nothing off it.",
        "plane sets that leave the data",
        lambda sweep, groups: any(planes.off_manifold != "none" for planes in sweep.planes.values()),
    ),
    "reproducibility_matrix": FigureKind(
        reproducibility_matrix,
        "Reproducibility within and between kinds",
        "On how many points of the planes two trainings agree, of one kind (framed) and of two. Blocks of high values "
        "off the frames are kinds of networks that learn the same regions.",
        "several architectures, options or recipes",
        lambda sweep, groups: _compares(sweep) and _has_kinds(groups) and fits_matrix(groups),
    ),
    "recipe_table": FigureKind(
        recipe_table,
        "Reproducibility and accuracy by recipe",
        "A row a network and a column a recipe; the darker a cell, the further its trainings agree. Whether two cells "
        "differ by more than chance is in the table of differences.",
        "networks with several recipes",
        lambda sweep, groups: _compares(sweep) and compares_recipes(groups) and several_recipes(groups),
        latex=recipe_table_latex,
    ),
    "by_recipe": FigureKind(
        by_recipe,
        "Reproducibility against accuracy",
        "A point for each network and recipe, with both intervals. Of two points of equal accuracy the higher one is "
        "the more dependable choice.",
        "several architectures or recipes",
        lambda sweep, groups: _compares(sweep) and compares_recipes(groups),
    ),
    "learning_rates": FigureKind(
        learning_rates,
        "Learning rates",
        "Error and reproducibility over the learning rates that were tried, with a ring at the smallest error. A ring "
        "at the end of a curve says that a better rate may lie beyond.",
        "several learning rates",
        lambda sweep, groups: several_rates(groups),
    ),
    "plane_sets": FigureKind(
        plane_sets,
        "Planes of different kinds",
        "Regions per plane and reproducibility on each of the plane sets: whether what is found on planes through "
        "test images holds on others.",
        "several plane sets",
        lambda sweep, groups: len(sweep.planes) > 1,
    ),
    "margins": FigureKind(
        margins,
        "Margins",
        "How far images are from the decision boundary. Mislabelled images that a network has memorised lie closer to "
        "it than correctly labelled ones: they are islands.",
        "margins",
        lambda sweep, groups: sweep.margins is not None,
    ),
    "streams": FigureKind(
        streams,
        "Random streams",
        "Which random stream makes another model: the share of the disagreement that remains if trainings differ in "
        "this one alone (total), and the share that goes away if they differ in all others (own).",
        "random streams that vary apart",
        lambda sweep, groups: _compares(sweep) and "streams" in tables_of(sweep),
    ),
    "resolution": FigureKind(
        resolution,
        "Resolution",
        "How counts of regions depend on the grid: all of them, and those of a least area. Level lines say that the "
        "grid is fine enough.",
        "grids that contain coarser ones",
        lambda sweep, groups: "fragmentation" in sweep.scores and finest_plane_set(sweep) is not None,
    ),
}
