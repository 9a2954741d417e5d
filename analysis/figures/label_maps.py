"""The label maps that pictures show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Store


def shown_map(store: Store, plane_set: str, model_id: str, epoch: int, plane: int = 0) -> NDArray[np.uint8]:
    """What a model predicts on one plane, `[rows, columns]`, as a picture of it is to show it."""
    return store.read_label_maps(plane_set, model_id, epoch, slice(plane, plane + 1))[0]
