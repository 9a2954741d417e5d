"""The scores on the planes of one set, collected while label maps are read.

Only the maps of some planes are in memory at a time. What stays is a few numbers for each model and plane, so memory
does not grow with the number of grid points.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Labels
from dbviz_ray.terminal import interruption

from .agreement import agreement_blocks
from .regions import Regions, class_shares, nested_resolutions, regions_of

Floats = NDArray[np.float64]
CHUNK_BYTES = 2**27
"""Bytes of label maps, or of class probabilities, in memory at a time."""


@dataclass(frozen=True)
class Stored:
    """Reads the label maps and probabilities of some models, always in the same order."""

    models: int
    planes: int
    resolution: int
    classes: int
    labels: Callable[[slice], Labels]
    """Label maps of some planes: `[models, planes, resolution, resolution]`."""
    probabilities: Callable[[slice], NDArray[np.float16]] | None = None
    """Class probabilities of some planes: `[models, planes, resolution, resolution, classes]`."""
    together: int = 1
    """Planes that are stored together, and are best read together."""


@dataclass(frozen=True)
class PlaneScores:
    """The scores of models on the planes of one set; None for scores that are not wanted or not stored."""

    planes: int
    same_points: PairMeans | None
    """Share of points on which two models agree; see `dbviz_ray.analysis.scores.agreement`."""
    soft_agreement: PairMeans | None
    """Chance that two models agree on a point if each draws its class from its probabilities."""
    class_shares: NDArray[np.float32]
    """`[models, planes, classes]`: share of a plane's points that are of each class."""
    by_resolution: Mapping[int, Mapping[str, Floats]]
    """At each resolution that the grid contains, the scores of `Regions`: `[models, planes]` each. Empty if not
    wanted."""

    @property
    def regions(self) -> Mapping[str, Floats]:
        """The scores of `Regions` on the whole grid."""
        return self.by_resolution[max(self.by_resolution)] if self.by_resolution else {}


def score_planes(stored: Stored, wanted: frozenset[str], sets: Sequence[PairSet], minimum_share: float) -> PlaneScores:
    """Compute the wanted ones of "reproducibility" and "fragmentation".

    The means of `sets` of pairs are kept for every plane; other pairs get only their mean over planes. A region with
    at least `minimum_share` of a plane's points counts as large.
    """
    models, planes, classes = stored.models, stored.planes, stored.classes
    same = PairMeans(models, planes, sets) if "reproducibility" in wanted and models > 1 else None
    soft = PairMeans(models, planes, sets) if same is not None and stored.probabilities is not None else None
    shares = np.empty((models, planes, classes), np.float32)
    grids = nested_resolutions(stored.resolution) if "fragmentation" in wanted else []
    by_resolution = {points: {name: np.empty((models, planes)) for name in Regions._fields} for _, points in grids}
    for some in _chunks(stored, models * stored.resolution**2):
        interruption.check()  # in a thread of its own, nobody else ends it
        labels = stored.labels(some)
        if same is not None:
            for block, values in agreement_blocks(labels.reshape(*labels.shape[:2], -1)):
                same.add(slice(some.start + block.start, some.start + block.stop), values)
        for model, maps in enumerate(labels):
            shares[model, some] = class_shares(maps, classes)
            for stride, points in grids:
                found = regions_of(maps[:, ::stride, ::stride], minimum_share)
                for name, on_planes in found._asdict().items():
                    by_resolution[points][name][model, some] = on_planes
    if soft is not None and stored.probabilities is not None:
        for some in _chunks(stored, models * stored.resolution**2 * classes * 4):
            for plane, of_plane in enumerate(stored.probabilities(some).swapaxes(0, 1), some.start):
                flat = of_plane.reshape(models, -1).astype(np.float32)
                soft.add(slice(plane, plane + 1), (flat @ flat.T).astype(float)[None] / stored.resolution**2)
    return PlaneScores(planes, same, soft, shares, by_resolution)


def _chunks(stored: Stored, bytes_of_plane: int) -> list[slice]:
    """The planes, some at a time: as many as `CHUNK_BYTES` hold, and whole numbers of those stored together."""
    each = max(1, CHUNK_BYTES // bytes_of_plane)
    if each > stored.together:
        each -= each % stored.together
    return [slice(first, min(first + each, stored.planes)) for first in range(0, stored.planes, each)]


@dataclass(frozen=True)
class PairSet:
    """Pairs of models, by their places."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    singly: bool = False
    """Whether each pair is wanted on each plane, not only their mean."""

    @property
    def key(self) -> Hashable:
        """Equal for sets of the same pairs."""
        return self.first.tobytes(), self.second.tobytes(), self.singly


class PairMeans:
    """Means of a score of pairs: over planes for every pair, and on every plane for sets of pairs.

    All that intervals need, in memory that grows with models^2 and with what the sets ask for, not with models^2 times
    planes.
    """

    def __init__(self, models: int, planes: int, sets: Sequence[PairSet]) -> None:
        known = sorted((pairs for pairs in sets if len(pairs.first)), key=lambda pairs: not pairs.singly)
        nothing = np.empty(0, np.intp)
        self._first = np.concatenate([nothing, *(pairs.first for pairs in known)])
        self._second = np.concatenate([nothing, *(pairs.second for pairs in known)])
        self._sizes = np.array([len(pairs.first) for pairs in known], np.intp)
        self._starts = np.cumsum(self._sizes) - self._sizes
        self._places = {pairs.key: place for place, pairs in enumerate(known)}
        self._sum, self._planes = np.zeros((models, models)), planes
        self._singly = np.empty((planes, sum(len(pairs.first) for pairs in known if pairs.singly)))
        self._of_sets = np.empty((planes, len(known)))

    def add(self, some: slice, values: Floats) -> None:
        """Take in the planes `some`: `[those planes, models, models]`, symmetric."""
        self._sum += values.sum(axis=0)
        if len(self._sizes):
            of_pairs = values[:, self._first, self._second]
            self._singly[some] = of_pairs[:, : self._singly.shape[1]]
            self._of_sets[some] = np.add.reduceat(of_pairs, self._starts, axis=1) / self._sizes

    @property
    def by_pair(self) -> Floats:
        """Mean over planes: `[models, models]`."""
        return np.asarray(self._sum / self._planes)

    def on_planes(self, pairs: PairSet) -> Floats:
        """Mean over the pairs of a set, on every plane: `[planes]`."""
        return np.asarray(self._of_sets[:, self._places[pairs.key]])

    def each_on_planes(self, pairs: PairSet) -> Floats:
        """Every pair of a set that is followed singly, on every plane: `[planes, pairs]`."""
        start = self._starts[self._places[pairs.key]]
        return np.asarray(self._singly[:, start : start + len(pairs.first)])


def pairs_within(members: NDArray[np.intp], used: NDArray[np.bool_] | None = None, *, singly: bool = False) -> PairSet:
    """Every two of `members`; of these only the `used` `[members, members]`, if given."""
    first, second = np.triu_indices(len(members), 1) if used is None else np.nonzero(np.triu(used, 1))
    return PairSet(members[first], members[second], singly)


def pairs_between(members: NDArray[np.intp], others: NDArray[np.intp], *, singly: bool = False) -> PairSet:
    """Every one of `members` with every one of `others`."""
    return PairSet(np.repeat(members, len(others)), np.tile(others, len(members)), singly)
