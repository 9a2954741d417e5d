"""Label maps and pictures of a run, as figures show them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbviz_ray.config import Seeds
from dbviz_ray.store import Picture, Store

from ..scores.groups import GROUP, Group, records


def shown_picture(store: Store, plane_set: str, model_id: str, epoch: int, plane: int = 0) -> Picture:
    """What a model says on one plane: its picture, or what is scored, with its confidence where that is stored."""
    picture = store.read_picture(plane_set, model_id, epoch, plane)
    if picture is not None:
        return picture
    one = slice(plane, plane + 1)
    labels = store.read_label_maps(plane_set, model_id, epoch, one)[0]
    try:
        probabilities = store.read_probabilities(plane_set, model_id, epoch, one)[0]
    except FileNotFoundError:
        return Picture(labels)
    return Picture(labels, probabilities.max(axis=-1))


def shown_map(store: Store, plane_set: str, model_id: str, epoch: int, plane: int = 0) -> NDArray[np.uint8]:
    """The predicted classes of `shown_picture`, `[rows, columns]`."""
    return shown_picture(store, plane_set, model_id, epoch, plane).labels


def on_one_grid(maps: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Maps `[rows, columns]` of whatever resolutions as `[maps, rows, columns]` of the finest; nearest points count.

    Models of which finer pictures were asked for may stand beside others.
    """
    finest = max(len(values) for values in maps)
    places = [np.rint(np.linspace(0, len(values) - 1, finest)).astype(int) for values in maps]
    return np.stack([values[np.ix_(place, place)] for values, place in zip(maps, places, strict=True)])


Shares = NDArray[np.float64]


@dataclass(frozen=True)
class Trainings:
    """One plane as all trainings of a group see it."""

    pictures: Sequence[Picture]
    shares: Shares | None
    """Where they disagree, `[rows, columns]`: see `disagreement`; None if there is one training alone."""


def trainings_of(store: Store, plane_set: str, group: dict[str, Any], models: pd.DataFrame) -> Trainings:
    """The trainings of a row of `groups` on the first plane of a set; `models` is the table of that name."""
    members = _members(plane_set, group, models)
    pictures = _pictures(store, plane_set, members)
    if len(pictures) < 2:
        return Trainings(pictures, None)
    seeds = tuple(Seeds(**{name: int(member[f"{name}_seed"]) for name in Seeds.model_fields}) for member in members)
    pairs = Group({}, np.arange(len(members)), seeds).independent
    labels = on_one_grid([picture.labels for picture in pictures])
    return Trainings(pictures, disagreement(labels, pairs))


def pictures_of(
    store: Store, plane_set: str, group: dict[str, Any], models: pd.DataFrame, most: int | None = None
) -> list[Picture]:
    """The first plane of a set as the first `most` trainings (all) of a row of `groups` see it."""
    return _pictures(store, plane_set, _members(plane_set, group, models)[:most])


def _pictures(store: Store, plane_set: str, members: Sequence[dict[str, Any]]) -> list[Picture]:
    return [shown_picture(store, plane_set, member["model_id"], member["epoch"]) for member in members]


def _members(plane_set: str, group: dict[str, Any], models: pd.DataFrame) -> list[dict[str, Any]]:
    of_group = (models[["plane_set", *GROUP]] == [plane_set, *(group[column] for column in GROUP)]).all(axis=1)
    return records(models[of_group])


def disagreement(labels: NDArray[np.uint8], pairs: NDArray[np.bool_]) -> Shares:
    """Share of pairs of trainings whose classes differ on each point, `[rows, columns]`.

    Args:
        labels: `[trainings, rows, columns]`, predicted classes.
        pairs: `[trainings, trainings]`, symmetric: which pairs count.
    """
    differing = np.zeros(labels.shape[1:])
    for label_map, others in zip(labels, pairs, strict=True):
        differing += (labels[others] != label_map).sum(axis=0)
    return np.asarray(differing / pairs.sum())
