"""The scores, as pure functions of arrays. Axes are named in every docstring."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.regions import region_counts as region_counts

Labels = NDArray[np.uint8]
Floats = NDArray[np.float64]

BLOCK_BYTES = 2**19
"""Labels that are compared at a time: few enough for a core's cache, enough to make little of numpy's own calls."""


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
    filled = -points % 8  # equal points are counted eight at a time, so all models get some that are equal
    planes_each = max(1, BLOCK_BYTES // (models * (points + filled)))
    block = np.zeros((models, planes_each, points + filled), dtype=np.uint8)
    for first in range(0, planes, planes_each):
        some = slice(first, min(first + planes_each, planes))
        on_planes = block[:, : some.stop - first]
        on_planes[..., :points] = labels[:, some]
        for model in range(models - 1):
            equal = on_planes[model] == on_planes[model + 1 :]
            counts = np.bitwise_count(equal.view(np.uint64)).sum(axis=2, dtype=np.int64) - filled
            shares[some, model, model + 1 :] = shares[some, model + 1 :, model] = counts.T / points
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
