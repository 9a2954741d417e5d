"""The label maps that pictures show."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Store


def shown_map(store: Store, plane_set: str, model_id: str, epoch: int, plane: int = 0) -> NDArray[np.uint8]:
    """What a model predicts on one plane, `[rows, columns]`: its picture, or the label map that is scored."""
    picture = store.read_picture(plane_set, model_id, epoch, plane)
    if picture is not None:
        return picture.labels
    scored: NDArray[np.uint8] = store.read_label_maps(plane_set, model_id, epoch, slice(plane, plane + 1))[0]
    return scored
