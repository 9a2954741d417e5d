"""Groups: models that differ only in their seeds, at one of their kept epochs; and the names of groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbviz_ray.config import ModelConfig, Seeds, SweepConfig
from dbviz_ray.config.registry import CALLED

from .pair_means import Mask, PairSet, pairs_within

NETWORK = ["architecture", "options", "width"]
KIND = [*NETWORK, "label_noise", "recipe", "learning_rate"]
"""The fields that the models of a group share."""
GROUP = [*KIND, "epoch"]
NAMING = [*NETWORK, "recipe", "learning_rate"]
MAX_SINGLY_ON_PLANES = 64
"""Groups with more members do not follow every pair on every plane. The interaction of models and planes is then
counted twice, which hardly widens an interval."""


def group_of(model: ModelConfig, epoch: int) -> dict[str, Any]:
    """The values of the columns `GROUP` for a model at one of its kept epochs."""
    return {
        "architecture": model.architecture,
        "options": options_text(model.options),
        "width": model.width,
        "label_noise": model.label_noise,
        "recipe": model.recipe,
        "learning_rate": model.training.learning_rate,
        "epoch": epoch,
    }


@dataclass(frozen=True, eq=False)
class Group:
    """Trained models of one group, by their places in the arrays of scores."""

    key: dict[str, Any]
    """Values of the columns `GROUP`."""
    members: NDArray[np.intp]
    seeds: tuple[Seeds, ...]
    """The seeds of each member."""

    @cached_property
    def streams(self) -> dict[tuple[str, ...], NDArray[np.int64]]:
        """The level of each member, `[members]`, for each random stream that varies.

        Streams whose seeds always change together count as one; the key holds the names of them all.
        """
        found: dict[tuple[int, ...], list[str]] = {}
        for stream in Seeds.model_fields:
            seeds = np.array([getattr(seeds, stream) for seeds in self.seeds], dtype=object)
            levels = pd.factorize(seeds, use_na_sentinel=False)[0]  # no seed is a level, too
            if levels.any():
                found.setdefault(tuple(levels.tolist()), []).append(stream)
        return {tuple(names): np.array(levels) for levels, names in found.items()}

    @property
    def levels(self) -> tuple[NDArray[np.int64], ...]:
        """The values of `streams`: which members share a seed."""
        return tuple(self.streams.values())

    @cached_property
    def independent(self) -> Mask | None:
        """`[members, members]`: which two differ in every stream that varies. None for every two, also if no two do."""
        if all(len(np.unique(levels)) == len(levels) for levels in self.levels):
            return None
        differ = np.logical_and.reduce([levels[:, None] != levels for levels in self.levels])
        return differ if differ.any() else None

    @cached_property
    def independent_pairs(self) -> PairSet:
        """The pairs of independent trainings, over which the reproducibility is the mean."""
        return pairs_within(self.members, self.independent, singly=len(self.members) <= MAX_SINGLY_ON_PLANES)


def groups_among(models: Sequence[ModelConfig], epochs: Sequence[int]) -> list[Group]:
    """The groups of models at their epochs, in the order of their first members."""
    places: dict[tuple[Any, ...], list[int]] = {}
    keys = [group_of(model, epoch) for model, epoch in zip(models, epochs, strict=True)]
    for place, key in enumerate(keys):
        places.setdefault(tuple(key.values()), []).append(place)
    return [
        Group(keys[members[0]], np.array(members, dtype=np.intp), tuple(models[place].seeds for place in members))
        for members in places.values()
    ]


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a table, by column name."""
    return [{str(column): value for column, value in row.items()} for row in table.to_dict(orient="records")]


def options_text(options: dict[str, Any]) -> str:
    """An architecture's options as text, such as "heads=4 patch_size=2"."""
    return " ".join(f"{name}={value}" for name, value in sorted(options.items()))


def alike(table: pd.DataFrame, group: Mapping[str, Any], columns: Sequence[str] = GROUP) -> pd.DataFrame:
    """The rows of a table that agree with `group` in these columns."""
    return table[(table[list(columns)] == [group[column] for column in columns]).all(axis=1)]


def groups_of(sweep: SweepConfig) -> pd.DataFrame:
    """Every group of a sweep at every kept epoch, in the columns `GROUP`."""
    kept = [group_of(model, epoch) for model in sweep.models() for epoch in model.training.kept_epochs]
    return pd.DataFrame(kept, columns=GROUP).drop_duplicates(ignore_index=True)


def at_last_epoch(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every group's last epoch."""
    keys = [column for column in ("plane_set", *GROUP) if column in table and column != "epoch"]
    return table[table["epoch"] == table.groupby(keys)["epoch"].transform("max")].reset_index(drop=True)


def learned(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of groups whose trainings all predict several classes; every row if there are no such groups.

    Trainings that predict one class for every image agree trivially, and their scores flatten those of others.
    """
    several = table[table["n_constant"] == 0]
    return table if several.empty else several


def first_planes_at_last_epoch(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first plane set and of every group's last epoch, with the groups' names in the column `name`."""
    last = at_last_epoch(table[table["plane_set"] == table["plane_set"].iloc[0]])
    return last.assign(name=names_of(last))


def name_parts(table: pd.DataFrame, columns: Sequence[str] = NAMING) -> list[tuple[str, ...]]:
    """The words that distinguish the rows of `table`, one tuple for each row.

    The first column is always named. A later one is named if rows that agree in all columns before it differ in it.
    """
    if table.empty:
        return []
    texts: dict[str, Callable[[Any], str]] = {
        "architecture": lambda name: CALLED.get(name, name),
        "width": "width {}".format,
        "learning_rate": "learning rate {:g}".format,
        "label_noise": "label noise {:g}".format,
        "epoch": "epoch {}".format,
    }
    parts: list[list[str]] = [[] for _ in range(len(table))]
    for index, column in enumerate(columns):
        earlier = list(columns[:index])
        shown = table.groupby(earlier)[column].transform("nunique") > 1 if earlier else [True] * len(table)
        for part, show, value in zip(parts, shown, table[column], strict=True):
            if show and value != "":
                part.append(texts.get(column, str)(value))
    return [tuple(part) for part in parts]


def names_of(table: pd.DataFrame, columns: Sequence[str] = NAMING) -> list[str]:
    """`name_parts` as text, for renderers. Nothing may split it again."""
    return [", ".join(parts) for parts in name_parts(table, columns)]
