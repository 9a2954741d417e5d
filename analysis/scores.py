"""The scores, as pure functions of arrays. Axes are named in every docstring."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.regions import region_counts as region_counts

Labels = NDArray[np.uint8]
Floats = NDArray[np.float64]


def agreement(labels: Labels) -> Floats:
    """Share of equal labels of every two models on every plane.

    The reproducibility score of arXiv 2203.08124 is its mean over planes. (The paper calls it intersection over
    union; it is plain agreement.)

    Args:
        labels: `[models, planes, points]`, predicted classes.

    Returns:
        `[planes, models, models]`, symmetric, with ones on the diagonal.
    """
    models, planes, points = labels.shape
    shares = np.ones((planes, models, models))
    for plane in range(planes):
        on_plane = np.ascontiguousarray(labels[:, plane])
        for model in range(models - 1):
            equal = np.count_nonzero(on_plane[model] == on_plane[model + 1 :], axis=1) / points
            shares[plane, model, model + 1 :] = shares[plane, model + 1 :, model] = equal
    return shares


@dataclass(frozen=True)
class PlaneScores:
    """The scores of models on the planes of one set; None for a score that is not asked for."""

    planes: int
    same_points: Floats | None
    """`[planes, models, models]`, see `agreement`."""
    regions: Floats | None
    """`[models, planes]`, see `region_counts`."""


def plane_scores(label_maps: Labels, wanted: Collection[str]) -> PlaneScores:
    """The wanted of "reproducibility" and "fragmentation" of label maps `[models, planes, rows, columns]`."""
    models, planes = label_maps.shape[:2]
    same_points = agreement(label_maps.reshape(models, planes, -1)) if "reproducibility" in wanted else None
    counts = (region_counts(maps) for maps in label_maps)
    regions = np.stack([count.astype(float) for count in counts]) if "fragmentation" in wanted else None
    return PlaneScores(planes, same_points, regions)
