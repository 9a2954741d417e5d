"""The scores on the planes of one set, collected while label maps stream past.

Only some planes of all models are in memory at a time, and what is kept of them is a few numbers a model and plane; so
memory does not grow with the number of models times the number of planes' points.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .agreement import agreement_blocks
from .pair_means import PairMeans, PairSet
from .regions import Regions, class_shares, nested_resolutions, regions_of

Floats = NDArray[np.float64]
CHUNK_BYTES = 2**27
"""Of label maps, or of class probabilities, that are in memory at a time."""
COUNTS = ("fragmentation", "large_regions")
REGION_SCORES = (*COUNTS, "largest_region")


@dataclass(frozen=True)
class Stored:
    """Where label maps come from: the same models, in one order, whatever is asked for."""

    models: int
    planes: int
    resolution: int
    classes: int
    labels: Callable[[slice], NDArray[np.uint8]]
    """Label maps of some planes: `[models, planes, resolution, resolution]`."""
    probabilities: Callable[[slice], NDArray[np.float16]] | None = None
    """Class probabilities of some planes: `[models, planes, resolution, resolution, classes]`."""
    together: int = 1
    """Planes that are stored, and so best read, together."""


@dataclass(frozen=True)
class PlaneScores:
    """The scores of models on the planes of one set; None for what is not asked for or not stored."""

    planes: int
    same_points: PairMeans | None
    """Share of points on which two models agree; see `dbviz_ray.analysis.scores.agreement`."""
    soft_agreement: PairMeans | None
    """Chance that two models agree on a point if each draws its class from its probabilities."""
    class_shares: NDArray[np.float32]
    """`[models, planes, classes]`: share of a plane's points that are of each class."""
    regions: Mapping[str, Floats]
    """`REGION_SCORES`, each `[models, planes]`; see `dbviz_ray.analysis.scores.regions`. Empty if not wanted."""
    by_resolution: Mapping[int, Mapping[str, Floats]]
    """At each resolution that the grid contains, the `COUNTS`: `[models, planes]` each."""


def score_planes(
    stored: Stored, wanted: frozenset[str], sets: Mapping[Hashable, PairSet], minimum_share: float
) -> PlaneScores:
    """The wanted of "reproducibility" and "fragmentation"; pairs on single planes for the `sets` alone.

    Args:
        stored: The label maps.
        wanted: Which scores to compute.
        sets: Sets of pairs of models whose means are wanted on every plane.
        minimum_share: Of a plane's points, from which on a region counts as large.
    """
    models, planes, classes = stored.models, stored.planes, stored.classes
    same = PairMeans(models, planes, sets) if "reproducibility" in wanted and models > 1 else None
    soft = PairMeans(models, planes, sets) if same is not None and stored.probabilities is not None else None
    shares = np.empty((models, planes, classes), np.float32)
    with_regions = "fragmentation" in wanted
    regions = {name: np.empty((models, planes)) for name in REGION_SCORES if with_regions}
    grids = nested_resolutions(stored.resolution) if with_regions else []
    coarser = {points: {name: np.empty((models, planes)) for name in COUNTS} for _, points in grids[:-1]}
    for some in _chunks(stored, models * stored.resolution**2):
        labels = stored.labels(some)
        if same is not None:
            for block, values in agreement_blocks(labels.reshape(*labels.shape[:2], -1)):
                same.add(slice(some.start + block.start, some.start + block.stop), values)
        for model, maps in enumerate(labels):
            shares[model, some] = class_shares(maps, classes)
            if with_regions:
                found = regions_of(maps, classes, minimum_share)
                _keep(regions, found, model, some)
                for stride, points in grids[:-1]:
                    on_grid = regions_of(maps[:, ::stride, ::stride], classes, minimum_share)
                    _keep(coarser[points], on_grid, model, some)
    if soft is not None and stored.probabilities is not None:
        for some in _chunks(stored, models * stored.resolution**2 * classes * 4):
            _add_soft_agreement(soft, some, stored.probabilities(some))
    own = {stored.resolution: {name: regions[name] for name in COUNTS}} if with_regions else {}
    by_resolution = {**coarser, **own}
    return PlaneScores(planes, same, soft, shares, regions, by_resolution)


def _keep(scores: Mapping[str, Floats], found: Regions, model: int, some: slice) -> None:
    """Write a model's regions into those of the `REGION_SCORES` that are kept."""
    values = dict(zip(REGION_SCORES, (found.count, found.large, found.largest_share), strict=True))
    for name, on_planes in scores.items():
        on_planes[model, some] = values[name]


def _add_soft_agreement(soft: PairMeans, some: slice, probabilities: NDArray[np.float16]) -> None:
    """Take in class probabilities `[models, planes, rows, columns, classes]`."""
    points = probabilities.shape[2] * probabilities.shape[3]
    for offset in range(probabilities.shape[1]):
        of_plane = probabilities[:, offset].reshape(len(probabilities), -1).astype(np.float32)
        values = (of_plane @ of_plane.T).astype(float) / points
        plane = some.start + offset
        soft.add(slice(plane, plane + 1), values[None])


def _chunks(stored: Stored, bytes_of_plane: int) -> list[slice]:
    """The planes, some at a time: as many as `CHUNK_BYTES` hold, and whole numbers of those stored together."""
    each = max(1, CHUNK_BYTES // bytes_of_plane)
    if each > stored.together:
        each -= each % stored.together
    return [slice(first, min(first + each, stored.planes)) for first in range(0, stored.planes, each)]
