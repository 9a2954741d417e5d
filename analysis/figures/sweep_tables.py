"""What figures read: tables, representative groups, and label maps; and the models and planes that a user names."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.formatting import listed
from dbviz_ray.store import Labels, Picture, PictureKey, Store

from ..findings.curves import EPOCH, LOWEST, PEAK, WIDTH, curves, evenly
from ..scores.groups import GROUP, alike, learned, name_parts, records
from ..scores.regions import nested_resolutions
from ..tables import read_table
from ..tables.recipes import at_best_rate, compares_recipes

MAX_SHOWN = 6
MOST_NAMED = 3
SURFACE_WIDTHS, SURFACE_EPOCHS = 2, 3
"""The smallest numbers of widths and kept epochs of a surface."""


class SweepTables:
    """A stored sweep. Every table is read once, and nobody may change it."""

    def __init__(self, store: Store, sweep: SweepConfig) -> None:
        self.store, self.sweep = store, sweep
        self.plane_set = next(iter(sweep.planes))
        """The first plane set, which most figures show."""
        self.seen: set[PictureKey] = set()
        """The pictures that figures have read."""
        self.table = cache(partial(read_table, store))
        """A table of scores, by its name."""

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
        return representative_groups(self.trained(), self.table("peaks"))

    def members(self, group: dict[str, Any], plane_set: str | None = None) -> list[dict[str, Any]]:
        """The trainings of a row of `groups`, as rows of `models`; the plane set is by default the first."""
        of_group = alike(self.table("models"), group)
        return records(of_group[of_group["plane_set"] == (plane_set or self.plane_set)])

    def picture(self, member: dict[str, Any]) -> Picture:
        """The first plane of a set as a training sees it; from a row of `models`.

        No figure chooses a plane for its looks.
        """
        key = PictureKey(member["model_id"], int(member["epoch"]), member["plane_set"], 0)
        self.seen.add(key)
        return shown_picture(self.store, key)


def representative_groups(groups: pd.DataFrame, peaks: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The groups to show where there is no room for all, and what they have in common ("" if nothing).

    `groups_on_curve`, or `groups_by_reproducibility` if there is no curve, or several architectures or recipes.
    """
    noise = groups["label_noise"].max()
    on_curve = None if compares_recipes(groups) else groups_on_curve(groups, peaks)
    rows, name = on_curve or groups_by_reproducibility(groups)
    return rows, ", ".join([name] * bool(name) + [f"label noise {noise:g}"] * bool(name or noise))


def groups_on_curve(
    groups: pd.DataFrame, peaks: pd.DataFrame, *, beside_others: bool = False
) -> tuple[pd.DataFrame, str] | None:
    """Representative points of the last curve over width, or else over epochs, at the largest label noise.

    Returns rows of `groups`, those that `learned`, called by the column `text`, and the curve's name; None without a
    curve. `beside_others`: the texts also stand over groups of other label noises, whose error may peak elsewhere.
    """
    noisiest = groups[groups["label_noise"] == groups["label_noise"].max()]
    for axis in (WIDTH, EPOCH):
        found = curves(noisiest, axis, peaks)
        if found:
            curve = found[-1]
            of_noise = f" at label noise {curve.key['label_noise']:g}" * beside_others
            names = [name + of_noise * (name in (axis.best, PEAK, LOWEST)) for name in curve.shown_rows]
            rows = curve.rows.iloc[list(curve.shown_rows.values())]
            texts = [f"{axis.column} {at}\n({name})" for at, name in zip(rows[axis.column], names, strict=True)]
            return learned(rows.assign(text=texts)), curve.name
    return None


def groups_by_reproducibility(groups: pd.DataFrame, most: int = MAX_SHOWN) -> tuple[pd.DataFrame, str]:
    """At most `most` groups of the largest label noise, evenly spaced from the most to the least reproducible.

    Last are those with a training that predicts one class for every image: such trainings agree trivially.
    Each is at its last epoch and best learning rate, and called by the column `text`; second, what all have in common.
    """
    best = at_best_rate(groups[groups["label_noise"] == groups["label_noise"].max()])
    names, common = told_apart(name_parts(best))
    best = best.assign(text=["\n".join(name) for name in names])
    ranked = best.sort_values("reproducibility", ascending=False, kind="stable")
    chosen = ranked.sort_values("n_constant", kind="stable", key=lambda counts: counts > 0)
    return chosen.iloc[evenly(len(chosen), most)], ", ".join(common)


def told_apart(names: Sequence[Sequence[str]]) -> tuple[list[Sequence[str]], list[str]]:
    """The parts of each name that not all names share, and the shared parts; a single name keeps all its parts."""
    shared = [part for part in names[0] if all(part in name for name in names)] if len(names) > 1 else []
    return [[part for part in name if part not in shared] or name for name in names], shared


def surfaces(groups: pd.DataFrame) -> list[pd.DataFrame]:
    """Rows of groups that differ only in width and epoch, one table a surface, the largest label noise first."""
    if "n_models" in groups:
        groups = groups[groups["n_models"] > 0]
    fixed = [column for column in GROUP if column not in ("width", "epoch")]
    found = [
        rows
        for _, rows in groups.groupby(fixed, sort=False)
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
    finest = np.max([values.shape for values in maps], axis=0)

    def places(sides: tuple[int, ...]) -> list[NDArray[np.intp]]:
        return [np.rint(np.linspace(0, side - 1, most)).astype(int) for side, most in zip(sides, finest, strict=True)]

    return np.stack([values[np.ix_(*places(values.shape))] for values in maps])


def disagreeing_shares(maps: Sequence[Labels], pairs: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of pairs of trainings whose classes differ at each point of the finest map, `[rows, columns]`.

    `maps` are predicted classes, `[rows, columns]` each; `pairs`, `[trainings, trainings]`, which count.
    """
    labels = on_one_grid(maps)
    differing = sum((labels[others] != own).sum(axis=0) for own, others in zip(labels, pairs, strict=True))
    return np.asarray(differing / pairs.sum())


@dataclass(frozen=True)
class ChosenModel:
    """A model after one of its kept epochs."""

    config: ModelConfig
    epoch: int

    @property
    def model_id(self) -> str:
        """Of the model, at whatever epoch."""
        return self.config.model_id


def choose_model(sweep: SweepConfig, name: str, epoch: int | None = None) -> ChosenModel:
    """The model that `name` means: its model_id, or a part of it that no other model of the sweep has.

    `@32` after the name, or `epoch`, is one of its kept epochs; the last one by default. UserError if the name means no
    model or several.
    """
    part, _, given = name.partition("@")
    models = sweep.models()
    found = [model for model in models if model.model_id == part] or [m for m in models if part in m.model_id]
    if len(found) != 1:
        reason = f"is part of the model_id of {len(found)} models" if found else "is part of no model_id"
        some = listed([model.model_id for model in found or models], MOST_NAMED)
        raise UserError("model", part, reason=reason, allowed=f"one model_id, or a part that only it has: {some}")
    kept = found[0].training.kept_epochs
    wanted = given or str(kept[-1] if epoch is None else epoch)
    if wanted not in map(str, kept):
        reason = f"was not kept after epoch {wanted}"
        raise UserError("model", found[0].model_id, reason=reason, allowed=", ".join(map(str, kept)))
    return ChosenModel(found[0], int(wanted))


def short_names(models: Sequence[ChosenModel]) -> tuple[list[str], str]:
    """A short name for each model, and what they have in common, from `ModelConfig.name_parts` and epochs.

    Models with equal names are called by their model_ids.
    """
    epochs = [f"epoch {model.epoch}" for model in models]
    apart = len(set(epochs)) > 1
    parts = [[*model.config.name_parts, *[epoch] * apart] for model, epoch in zip(models, epochs, strict=True)]
    names, common = told_apart(parts)
    texts = [" ".join(own) for own in names]
    if len(set(texts)) < len(texts):
        texts = [f"{model.model_id} {epoch}" for model, epoch in zip(models, epochs, strict=True)]
    return texts, " ".join(common)


def choose_plane_set(sweep: SweepConfig, name: str | None = None, plane: int = 0) -> str:
    """The plane set called `name`, by default the sweep's first one. UserError if there is none, or no such plane."""
    if name is not None and name not in sweep.planes:
        raise UserError("plane set", name, reason="is not one of this run", allowed=", ".join(sweep.planes))
    chosen = name or next(iter(sweep.planes))
    check_plane(sweep.planes[chosen].count, plane)
    return chosen


def check_plane(count: int, plane: int) -> None:
    """UserError unless `plane` is the number of one of `count` planes."""
    if not 0 <= plane < count:
        raise UserError("plane", plane, allowed=f"from 0 to {count - 1}")
