"""What the figures of a sweep read: its tables, representative groups, and label maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbviz_ray.config import Seeds, SweepConfig
from dbviz_ray.store import Picture, PictureKey, Store

from ..findings.curves import EPOCH, WIDTH, curves, evenly, shown_rows
from ..scores.groups import GROUP, Group, name_parts, records
from ..scores.regions import nested_resolutions
from ..tables import read_table
from ..tables.recipes import at_best_rate, compares_recipes

MAX_SHOWN = 6
SURFACE_WIDTHS, SURFACE_EPOCHS = 2, 3
"""The smallest numbers of widths and kept epochs of a surface."""
SURFACE = [column for column in GROUP if column not in ("width", "epoch")]
Shares = NDArray[np.float64]


class SweepTables:
    """A stored sweep. Every table is read once, and nobody may change it."""

    def __init__(self, store: Store, sweep: SweepConfig) -> None:
        self.store, self.sweep = store, sweep
        self.plane_set = next(iter(sweep.planes))
        """The first plane set, which most figures show."""
        self._tables: dict[str, pd.DataFrame] = {}

    def table(self, name: str) -> pd.DataFrame:
        """A table of scores."""
        if name not in self._tables:
            self._tables[name] = read_table(self.store, name)
        return self._tables[name]

    def first(self, name: str) -> pd.DataFrame:
        """The rows of a table that belong to the first plane set."""
        table = self.table(name)
        return table[table["plane_set"] == self.plane_set]

    def trained(self) -> pd.DataFrame:
        """The first plane set's rows of `groups` that still have models."""
        groups = self.first("groups")
        return groups[groups["n_models"] > 0]

    def representative_groups(self) -> tuple[pd.DataFrame, str]:
        """`representative_groups` among `trained`."""
        return representative_groups(self.trained(), self.table("differences"))

    def members(self, group: dict[str, Any], plane_set: str | None = None) -> list[dict[str, Any]]:
        """The trainings of a row of `groups`, as rows of `models`; the plane set is by default the first."""
        return records(same_group(self.table("models"), group, plane_set or self.plane_set))

    def picture(self, key: PictureKey) -> Picture:
        """`shown_picture` of this sweep."""
        return shown_picture(self.store, key)


def key_of(member: dict[str, Any]) -> PictureKey:
    """The first plane of a set as a training sees it; from a row of `models`.

    No figure chooses a plane for its looks.
    """
    return PictureKey(member["model_id"], int(member["epoch"]), member["plane_set"], 0)


def same_group(table: pd.DataFrame, group: dict[str, Any], plane_set: str) -> pd.DataFrame:
    """The rows of a table about a group on a plane set."""
    wanted = [plane_set, *(group[column] for column in GROUP)]
    return table[(table[["plane_set", *GROUP]] == wanted).all(axis=1)]


def representative_groups(groups: pd.DataFrame, differences: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The groups to show where there is no room for all, and what they have in common ("" if nothing).

    The column `text` says how to call each. If the sweep compares architectures or recipes: at most six groups
    (`groups_by_reproducibility`); otherwise representative points of a curve (`groups_on_curve`). All have the largest
    label noise.
    """
    noise = groups["label_noise"].max()
    on_curve = None if compares_recipes(groups) else groups_on_curve(groups, differences)
    rows, name = on_curve or groups_by_reproducibility(groups, MAX_SHOWN)
    return rows, ", ".join([name] * bool(name) + [f"label noise {noise:g}"] * bool(name or noise))


def groups_on_curve(groups: pd.DataFrame, differences: pd.DataFrame) -> tuple[pd.DataFrame, str] | None:
    """Representative points of the last curve over width, or else over epochs, at the largest label noise.

    Returns rows of `groups`, called by the column `text`, and the curve's name; None without a curve.
    """
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
    """At most `most` groups of the largest label noise, evenly spaced from the most to the least reproducible.

    Each is at its last epoch and best learning rate, and called by the column `text`; second, what all have in common.
    """
    best = at_best_rate(groups[groups["label_noise"] == groups["label_noise"].max()])
    names, common = told_apart(name_parts(best))
    best = best.assign(text=["\n".join(name) for name in names])
    chosen = best.sort_values("reproducibility", ascending=False, kind="stable")
    return chosen.iloc[evenly(len(chosen), most)], ", ".join(common)


def told_apart(names: Sequence[Sequence[str]]) -> tuple[list[Sequence[str]], list[str]]:
    """The parts of each name that not all names share, and the shared parts; a single name keeps all its parts."""
    shared = [part for part in names[0] if all(part in name for name in names)] if len(names) > 1 else []
    return [[part for part in name if part not in shared] or name for name in names], shared


def with_noise(
    groups: pd.DataFrame, shown: pd.DataFrame, noise: float, *, any_rate: bool = False
) -> list[dict[str, Any] | None]:
    """For each group of `shown` the one that differs from it only in label noise, or None if there is none.

    With `any_rate` it may have another learning rate too.
    """
    free = ("label_noise", "learning_rate") if any_rate else ("label_noise",)
    alike = [column for column in GROUP if column not in free]
    found = {
        tuple(group[column] for column in alike): group for group in records(groups[groups["label_noise"] == noise])
    }
    return [found.get(tuple(group[column] for column in alike)) for group in records(shown)]


def surfaces(groups: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of groups that differ only in width and epoch, one table a surface, the largest label noise first."""
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


def shown_picture(store: Store, key: PictureKey) -> Picture:
    """The picture of a plane by a model if there is one, else its label map, with confidence if stored."""
    picture = store.read_picture(key.plane_set, key.model_id, key.epoch, key.plane)
    if picture is not None:
        return picture
    one = slice(key.plane, key.plane + 1)
    labels = store.read_label_maps(key.plane_set, key.model_id, key.epoch, one)[0]
    try:
        probabilities = store.read_probabilities(key.plane_set, key.model_id, key.epoch, one)[0]
    except FileNotFoundError:
        return Picture(labels)
    return Picture(labels, probabilities.max(axis=-1))


def on_one_grid(maps: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Maps `[rows, columns]` of different resolutions as `[maps, rows, columns]` of the finest, by nearest points."""
    finest = max(len(values) for values in maps)
    places = [np.rint(np.linspace(0, len(values) - 1, finest)).astype(int) for values in maps]
    return np.stack([values[np.ix_(place, place)] for values, place in zip(maps, places, strict=True)])


@dataclass(frozen=True)
class Trainings:
    """The label maps of all trainings of a group on one plane."""

    pictures: Sequence[Picture]
    shares: Shares | None
    """Where they disagree, `[rows, columns]` (`disagreeing_shares`); None for a single training."""


def trainings_of(tables: SweepTables, group: dict[str, Any]) -> Trainings:
    """The trainings of a row of `groups` on the first plane."""
    members = tables.members(group)
    pictures = [tables.picture(key_of(member)) for member in members]
    if len(pictures) < 2:
        return Trainings(pictures, None)
    seeds = tuple(Seeds(**{name: int(member[f"{name}_seed"]) for name in Seeds.model_fields}) for member in members)
    pairs = Group({}, np.arange(len(members)), seeds).independent
    return Trainings(pictures, disagreeing_shares(on_one_grid([picture.labels for picture in pictures]), pairs))


def disagreeing_shares(labels: NDArray[np.uint8], pairs: NDArray[np.bool_]) -> Shares:
    """Share of pairs of trainings whose classes differ at each point, `[rows, columns]`.

    Args:
        labels: `[trainings, rows, columns]`, predicted classes.
        pairs: `[trainings, trainings]`, symmetric: which pairs count.
    """
    differing = np.zeros(labels.shape[1:])
    for label_map, others in zip(labels, pairs, strict=True):
        differing += (labels[others] != label_map).sum(axis=0)
    return np.asarray(differing / pairs.sum())
