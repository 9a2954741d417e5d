"""The label maps that pictures show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Picture, Store


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
