"""Pictures of a sweep, drawn from its stored tables and label maps: which there are, and which a sweep has.

This file knows every figure without importing matplotlib. A new figure is a function that draws it, a line here and its
words in words.toml.
"""

import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
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
    others: list[str] = field(default_factory=list)
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


_APPLIES: dict[str, Callable[[SweepConfig, pd.DataFrame], bool]] = {
    "over_curves:double_descent": lambda sweep, groups: bool(curves(groups, WIDTH)),
    "over_curves:epochs": lambda sweep, groups: bool(curves(groups, EPOCH)),
    "over_curves:error_surface": lambda sweep, groups: bool(surfaces(groups)),
    "decision_regions:decision_regions": lambda sweep, groups: (
        bool(curves(groups, WIDTH) or curves(groups, EPOCH)) or not _several_kinds(groups)
    ),
    "decision_regions:architectures": lambda sweep, groups: _several_kinds(groups),
    "training:training": lambda sweep, groups: bool(curves(groups, EPOCH)),
    "disagreement:disagreement": lambda sweep, groups: (
        _compares(sweep) and len(sweep.models()) > len(at_last_epoch(groups))
    ),
    "disagreement:contested_images": lambda sweep, groups: (
        len(sweep.models()) > len(at_last_epoch(groups))
        and any(planes.through_test_images for planes in sweep.planes.values())
    ),
    "decision_regions:off_manifold": lambda sweep, groups: any(
        planes.off_manifold != "none" for planes in sweep.planes.values()
    ),
    "reproducibility_matrix:reproducibility_matrix": lambda sweep, groups: (
        _compares(sweep) and _several_kinds(groups) and _fits_matrix(groups)
    ),
    "recipes:recipe_table": lambda sweep, groups: (
        _compares(sweep) and compares_recipes(groups) and several_recipes(groups)
    ),
    "recipes:by_recipe": lambda sweep, groups: _compares(sweep) and compares_recipes(groups),
    "recipes:learning_rates": lambda sweep, groups: several_rates(groups),
    "dependence:plane_sets": lambda sweep, groups: len(sweep.planes) > 1,
    "margins:margins": lambda sweep, groups: sweep.margins is not None,
    "dependence:streams": lambda sweep, groups: _compares(sweep) and "streams" in tables_of(sweep),
    "dependence:resolution": lambda sweep, groups: (
        "fragmentation" in sweep.scores and finest_plane_set(sweep) is not None
    ),
}
"""Where each figure is drawn, and which sweeps have it (see `FigureEntry`)."""
_WORDS = tomllib.loads((Path(__file__).parent / "words.toml").read_text("utf-8"))
_ENTRIES = [
    FigureEntry(place, applies=applies, **_WORDS[place.partition(":")[2]]) for place, applies in _APPLIES.items()
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
