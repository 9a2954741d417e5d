"""Pictures of a sweep, drawn from its stored tables and label maps: which there are, and which a sweep has.

This file knows every figure without importing matplotlib. A new figure is a module with a function that draws it, and
an entry in `FIGURES`.
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
        "over_curves:double_descent", "three widths or more", lambda sweep, groups: bool(curves(groups, WIDTH))
    ),
    FigureEntry("over_curves:epochs", "snapshots", lambda sweep, groups: bool(curves(groups, EPOCH))),
    FigureEntry(
        "over_curves:error_surface",
        "two widths and three kept epochs or more",
        lambda sweep, groups: bool(surfaces(groups)),
    ),
    FigureEntry(
        "decision_regions:decision_regions",
        "curves, or one network alone",
        lambda sweep, groups: bool(curves(groups, WIDTH) or curves(groups, EPOCH)) or not _several_kinds(groups),
    ),
    FigureEntry(
        "decision_regions:architectures",
        "several architectures, options or recipes",
        lambda sweep, groups: _several_kinds(groups),
    ),
    FigureEntry("training:training", "snapshots", lambda sweep, groups: bool(curves(groups, EPOCH)), others=("gif",)),
    FigureEntry(
        "disagreement:disagreement",
        "several trainings of a network",
        lambda sweep, groups: _compares(sweep) and len(sweep.models()) > len(at_last_epoch(groups)),
    ),
    FigureEntry(
        "disagreement:contested_images",
        "several trainings of a network, and planes through test images",
        lambda sweep, groups: (
            len(sweep.models()) > len(at_last_epoch(groups))
            and any(planes.through_test_images for planes in sweep.planes.values())
        ),
    ),
    FigureEntry(
        "decision_regions:off_manifold",
        "plane sets that leave the data",
        lambda sweep, groups: any(planes.off_manifold != "none" for planes in sweep.planes.values()),
    ),
    FigureEntry(
        "reproducibility_matrix:reproducibility_matrix",
        "several architectures, options or recipes",
        lambda sweep, groups: _compares(sweep) and _several_kinds(groups) and _fits_matrix(groups),
    ),
    FigureEntry(
        "recipes:recipe_table",
        "networks with several recipes",
        lambda sweep, groups: _compares(sweep) and compares_recipes(groups) and several_recipes(groups),
        others=("tex",),
    ),
    FigureEntry(
        "recipes:by_recipe",
        "several architectures or recipes",
        lambda sweep, groups: _compares(sweep) and compares_recipes(groups),
    ),
    FigureEntry("recipes:learning_rates", "several learning rates", lambda sweep, groups: several_rates(groups)),
    FigureEntry("dependence:plane_sets", "several plane sets", lambda sweep, groups: len(sweep.planes) > 1),
    FigureEntry("margins:margins", "margins", lambda sweep, groups: sweep.margins is not None),
    FigureEntry(
        "dependence:streams",
        "random streams that vary separately",
        lambda sweep, groups: _compares(sweep) and "streams" in tables_of(sweep),
    ),
    FigureEntry(
        "dependence:resolution",
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
