"""What figures show of a sweep: which of its groups, plane sets and surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..findings.curves import EPOCH, WIDTH, curves, evenly, shown_rows
from ..scores.groups import GROUP, names_of, records
from ..scores.regions import nested_resolutions
from ..tables import read_table
from ..tables.recipes import at_best_rate, compares_recipes

MAX_SHOWN = 6


def shown_groups(store: Store, sweep: SweepConfig) -> tuple[pd.DataFrame, str]:
    """`representative_groups` of a stored sweep, by the first plane set's rows of `groups` with models."""
    groups, differences = (read_table(store, name) for name in ("groups", "differences"))
    of_first = groups["plane_set"] == next(iter(sweep.planes))
    return representative_groups(groups[of_first & (groups["n_models"] > 0)], differences)


def representative_groups(groups: pd.DataFrame, differences: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Groups to be shown, with what to call each in the column `text`, and what they have in common ("" if nothing).

    Where architectures or recipes are compared: at most six of them (`groups_by_reproducibility`). Else the telling
    points of a curve over width, or over epochs (`groups_on_curve`). All of the largest label noise.
    """
    noise = groups["label_noise"].max()
    on_curve = None if compares_recipes(groups) else groups_on_curve(groups, differences)
    rows, name = on_curve or groups_by_reproducibility(groups, MAX_SHOWN)
    return rows, ", ".join([name] * bool(name) + [f"label noise {noise:g}"] * bool(name or noise))


def groups_on_curve(groups: pd.DataFrame, differences: pd.DataFrame) -> tuple[pd.DataFrame, str] | None:
    """The telling points of the last curve over width, or else over epochs, of the largest label noise, with what to
    call each in the column `text`, and the curve's name; None without a curve."""
    noisiest = groups[groups["label_noise"] == groups["label_noise"].max()]
    for axis in (WIDTH, EPOCH):
        found = curves(noisiest, axis, differences)
        if found:
            shown = shown_rows(found[-1])
            rows = found[-1].rows.iloc[list(shown.values())]
            texts = [f"{axis.column} {row}\n({name})" for row, name in zip(rows[axis.column], shown, strict=True)]
            return rows.assign(text=texts), found[-1].name
    return None


def groups_by_reproducibility(groups: pd.DataFrame, most: int) -> tuple[pd.DataFrame, str]:
    """At most so many groups of the largest label noise, at their last epochs and best learning rates, evenly spaced
    from the most to the least reproducible, with what to call each in the column `text`, and what they have in common
    ("" if nothing)."""
    best = at_best_rate(groups[groups["label_noise"] == groups["label_noise"].max()])
    names, common = told_apart([name.split(", ") for name in names_of(best)])
    best = best.assign(text=[name.replace(", ", "\n") for name in names])
    chosen = best.sort_values("reproducibility", ascending=False, kind="stable")
    return chosen.iloc[evenly(len(chosen), most)], common


def told_apart(parts: Sequence[list[str]]) -> tuple[list[str], str]:
    """Names without the parts that all of them have in common, and these parts; a name alone is all its own."""
    shared = [part for part in parts[0] if all(part in other for other in parts)] if len(parts) > 1 else []
    own = [[part for part in name if part not in shared] or name for name in parts]
    return [", ".join(name) for name in own], ", ".join(shared)


def with_noise(
    groups: pd.DataFrame, shown: pd.DataFrame, noise: float, *, any_rate: bool = False
) -> list[dict[str, Any] | None]:
    """For each of the groups `shown`, the one that differs from it in its label noise alone, or, with `any_rate`, in
    its learning rate too; None if there is none."""
    free = ("label_noise", "learning_rate") if any_rate else ("label_noise",)
    alike = [column for column in GROUP if column not in free]
    found = {
        tuple(group[column] for column in alike): group for group in records(groups[groups["label_noise"] == noise])
    }
    return [found.get(tuple(group[column] for column in alike)) for group in records(shown)]


SURFACE_WIDTHS, SURFACE_EPOCHS = 2, 3
"""Least numbers of widths and kept epochs of a surface."""
SURFACE = [column for column in GROUP if column not in ("width", "epoch")]


def surfaces(groups: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of groups that differ in width and epoch only, the largest label noise first."""
    if "n_models" in groups:
        groups = groups[groups["n_models"] > 0]
    found = [
        rows
        for _, rows in groups.groupby(SURFACE, sort=False)
        if rows["width"].nunique() >= SURFACE_WIDTHS and rows["epoch"].nunique() >= SURFACE_EPOCHS
    ]
    return sorted(found, key=lambda rows: -float(rows["label_noise"].iloc[0]))


def finest_plane_set(sweep: SweepConfig) -> str | None:
    """The plane set whose grid contains the most coarser ones; None if none contains any."""
    contained = {name: len(nested_resolutions(planes.resolution)) for name, planes in sweep.planes.items()}
    best = max(contained, key=contained.__getitem__)
    return best if contained[best] > 1 else None
