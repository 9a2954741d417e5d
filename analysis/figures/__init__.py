"""Pictures of a sweep, drawn from its stored tables and label maps: which there are, and which a sweep has.

This file knows every figure without importing matplotlib. A new figure is a function that draws it, and an entry here.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

import pandas as pd

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError

from ..findings.curves import EPOCH, WIDTH, curves
from ..scores.groups import NETWORK, at_last_epoch, groups_of
from ..tables import tables_of
from ..tables.pairs import MAX_GROUPS
from ..tables.recipes import compares_recipes, several_rates, several_recipes
from .sweep_tables import SweepTables, finest_plane_set, surfaces

SUFFIXES = ("png", "pdf")
DOTS = 150
"""Dots an inch of PNGs, and of pixels in a PDF."""


@dataclass(frozen=True)
class FigureEntry:
    """A figure that sweeps may have."""

    place: str
    """`module:function` of this package: the function draws the figure and has its name."""
    title: str
    shows: str
    """What it shows, and how to read it. Claims are the paper's, or those of the findings."""
    sweeps: str
    """Which sweeps have it, in words."""
    applies: Callable[[SweepConfig, pd.DataFrame], bool]
    """Whether a sweep with these groups (`groups_of`) has it."""
    others: tuple[str, ...] = ()
    """Suffixes of further files with the same content; the function `name_suffix` makes each."""

    @property
    def name(self) -> str:
        """The name of the figure."""
        return self.place.partition(":")[2]

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of its files."""
        return (*SUFFIXES, *self.others)

    def draw(self, tables: SweepTables, suffix: str = "") -> Any:
        """The matplotlib Figure of a sweep; with one of the `others` as suffix, that file's bytes."""
        return resolve_name(f"{__name__}.{self.place}" + f"_{suffix}" * bool(suffix))(tables)


def _compares(sweep: SweepConfig) -> bool:
    return "reproducibility" in sweep.scores


def _several_kinds(groups: pd.DataFrame) -> bool:
    return len(groups.drop_duplicates(["architecture", "options", "recipe"])) > 1


def _fits_matrix(groups: pd.DataFrame) -> bool:
    """Whether the table `between_groups` takes the groups of some label noise."""
    kinds = at_last_epoch(groups).drop_duplicates([*NETWORK, "label_noise", "recipe"])
    return bool(kinds["label_noise"].value_counts().min() <= MAX_GROUPS)


_ENTRIES = [
    FigureEntry(
        "over_curves:double_descent",
        "Errors, decision regions and agreement over width",
        "Errors, regions per plane, reproducibility and margins over the width of the network. In the paper the "
        "test error peaks where networks begin to fit all training labels (near the vertical lines); there regions "
        "are many, and two trainings agree less. Here, the findings say which of this is beyond chance.",
        "three widths or more",
        lambda sweep, groups: bool(curves(groups, WIDTH)),
    ),
    FigureEntry(
        "over_curves:epochs",
        "Errors, decision regions and agreement over the training",
        "The same scores over the epochs of a training. Look whether errors, regions and agreement turn together, "
        "and whether they do so when the false labels are learned.",
        "snapshots",
        lambda sweep, groups: bool(curves(groups, EPOCH)),
    ),
    FigureEntry(
        "over_curves:error_surface",
        "Errors, decision regions and agreement over width and epoch",
        "Scores over width and epoch at once; above the line the training error is at most 10 %. Follow a row to "
        "see what width does, and a column to see what longer training does.",
        "two widths and three kept epochs or more",
        lambda sweep, groups: bool(surfaces(groups)),
    ),
    FigureEntry(
        "decision_regions:decision_regions",
        "Decision regions of repeated trainings",
        "One plane through three images in trainings that differ only in their seeds, with one colour for each "
        "class; the grey rows show where they disagree. Where trainings disagree, one training alone tells little.",
        "curves, or one network alone",
        lambda sweep, groups: bool(curves(groups, WIDTH) or curves(groups, EPOCH)) or not _several_kinds(groups),
    ),
    FigureEntry(
        "decision_regions:architectures",
        "Decision regions of every kind of network",
        "One plane through three images: a column for each kind of network, from the most to the least "
        "reproducible, and a row for each training. Compare shapes down a column, then across; the grey row shows "
        "where trainings of a kind disagree. One plane is an example: the numbers are over all planes.",
        "several architectures, options or recipes",
        lambda sweep, groups: _several_kinds(groups),
    ),
    FigureEntry(
        "training:training",
        "Decision regions during the training",
        "One plane over the epochs of a training, a row for each network; the GIF shows every kept epoch. Look "
        "which regions settle early.",
        "snapshots",
        lambda sweep, groups: bool(curves(groups, EPOCH)),
        others=("gif",),
    ),
    FigureEntry(
        "disagreement:disagreement",
        "Where two trainings disagree",
        "Two trainings that differ only in their seeds, and what the second predicts where it differs from the "
        "first, on one plane. It shows two kinds, the least and the most reproducible; kinds that learned nothing are "
        "left out.",
        "several trainings of a network",
        lambda sweep, groups: _compares(sweep) and len(sweep.models()) > len(at_last_epoch(groups)),
    ),
    FigureEntry(
        "disagreement:contested_images",
        "Images on which trainings disagree",
        "The test images on which the trainings of a kind disagree most, of those that planes go through, with the "
        "trainings' votes. What one training says about such an image, another may not.",
        "several trainings of a network, and planes through test images",
        lambda sweep, groups: (
            len(sweep.models()) > len(at_last_epoch(groups))
            and any(planes.through_test_images for planes in sweep.planes.values())
        ),
    ),
    FigureEntry(
        "decision_regions:off_manifold",
        "Decision regions on planes off the data",
        "Planes through shuffled images, noise or adversarial directions beside natural ones, with their numbers of "
        "regions: whether trainings that agree on natural planes agree elsewhere, too.",
        "plane sets that leave the data",
        lambda sweep, groups: any(planes.off_manifold != "none" for planes in sweep.planes.values()),
    ),
    FigureEntry(
        "reproducibility_matrix:reproducibility_matrix",
        "Reproducibility within and between kinds of networks",
        "On how many points of the planes two trainings agree, of one kind (framed) and of two. Compare a value "
        "with the two frames of its row and column.",
        "several architectures, options or recipes",
        lambda sweep, groups: _compares(sweep) and _several_kinds(groups) and _fits_matrix(groups),
    ),
    FigureEntry(
        "recipes:recipe_table",
        "Reproducibility and accuracy by recipe",
        "A row for each network and a column for each recipe; the darker a cell, the more its trainings agree. The "
        "table of differences says which cells differ by more than chance.",
        "networks with several recipes",
        lambda sweep, groups: _compares(sweep) and compares_recipes(groups) and several_recipes(groups),
        others=("tex",),
    ),
    FigureEntry(
        "recipes:by_recipe",
        "Reproducibility against accuracy",
        "A point for each network and recipe, with both intervals. The vertical axis is agreement: of two points "
        "of equal accuracy, the upper one is more reproducible.",
        "several architectures or recipes",
        lambda sweep, groups: _compares(sweep) and compares_recipes(groups),
    ),
    FigureEntry(
        "recipes:learning_rates",
        "Error and reproducibility over the learning rate",
        "Error and reproducibility over the learning rates tried, with a ring at the smallest error. If it is at an "
        "end of its curve, a better rate may lie beyond.",
        "several learning rates",
        lambda sweep, groups: several_rates(groups),
    ),
    FigureEntry(
        "dependence:plane_sets",
        "Regions and reproducibility on planes of different kinds",
        "Regions per plane and reproducibility on each plane set: whether results on planes through test images "
        "hold on others.",
        "several plane sets",
        lambda sweep, groups: len(sweep.planes) > 1,
    ),
    FigureEntry(
        "margins:margins",
        "Distances from images to the decision boundary",
        "How far images are from the decision boundary. In the paper, mislabelled images lie closer to it than "
        "correctly labelled ones once their false labels are learned; compare the two boxes of a group.",
        "margins",
        lambda sweep, groups: sweep.margins is not None,
    ),
    FigureEntry(
        "dependence:streams",
        "Shares of the random streams in the disagreement",
        "Which random stream makes models differ: the share of the disagreement that remains if trainings differ in "
        "this stream alone (total), and the share that goes away if they differ in all others (own).",
        "random streams that vary separately",
        lambda sweep, groups: _compares(sweep) and "streams" in tables_of(sweep),
    ),
    FigureEntry(
        "dependence:resolution",
        "Numbers of regions over the resolution of the grid",
        "How counts of regions depend on the grid: all regions, and those of a least area. Level lines say that the "
        "grid is fine enough.",
        "grids that contain coarser ones",
        lambda sweep, groups: "fragmentation" in sweep.scores and finest_plane_set(sweep) is not None,
    ),
]
FIGURES = {entry.name: entry for entry in _ENTRIES}


def figures_of(sweep: SweepConfig, names: Iterable[str] = ()) -> dict[str, FigureEntry]:
    """The figures of a sweep by name; what it varies decides (`FigureEntry.sweeps`). Those called `names`, or all.

    UserError for a figure that the sweep does not have.
    """
    groups, wanted = groups_of(sweep), set(names)
    entries = {name: entry for name, entry in FIGURES.items() if entry.applies(sweep, groups)}
    for name in wanted - entries.keys():
        raise UserError("figure", name, reason="is not one of this sweep", allowed=", ".join(entries))
    return {name: entry for name, entry in entries.items() if name in (wanted or entries)}
