"""The scores on the planes of one set, collected while label maps are read.

Only the maps of one model, and the words of all models on some planes, are in memory at a time. What stays is a few
numbers for each model and plane, and one for each pair.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Labels
from dbviz_ray.terminal import interruption

from .agreement import WORD, agreeing_points, bit_words, rows_together
from .pair_means import Floats, PairMeans, PairSet
from .regions import Regions, class_shares, nested_resolutions, regions_of

Item = TypeVar("Item")
Result = TypeVar("Result")
CHUNK_BYTES = 2**28
"""Bytes of the words of label maps, or of class probabilities, in memory at a time."""

Over = Callable[[Callable[[slice], "PlaneScores"], Sequence[slice]], Iterable["PlaneScores"]]
"""Scores blocks of planes, and gives the scores in their order: `map`, or the tasks of a cluster."""
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Stored:
    """Reads the label maps and probabilities of some models, always in the same order."""

    models: int
    planes: int
    resolution: int
    classes: int
    labels: Callable[[int, slice], Labels]
    """Label maps of one model on some planes: `[planes, resolution, resolution]`."""
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


def score_planes(
    stored: Stored, wanted: frozenset[str], sets: Sequence[PairSet], minimum_share: float, over: Over = map
) -> PlaneScores:
    """Compute the wanted ones of "reproducibility" and "fragmentation"; `over` scores blocks of planes.

    The means of `sets` of pairs are kept for every plane; other pairs get only their mean over planes. A region with
    at least `minimum_share` of a plane's points counts as large.
    """
    bits = _bits(stored.classes)
    blocks = _blocks(stored, slice(0, stored.planes), stored.models * stored.resolution**2 * bits // 8)

    def added(whole: PairMeans | None, part: PairMeans | None) -> PairMeans | None:
        return part if whole is None or part is None else whole.extended(part)

    same = soft = None
    shares, regions = [], []
    for part in over(partial(score_block, stored, wanted, sets, minimum_share), blocks):
        same, soft = added(same, part.same_points), added(soft, part.soft_agreement)
        shares.append(part.class_shares)
        regions.append(part.by_resolution)
        del part  # else it would be kept while the next one is computed
    by_resolution = {
        resolution: {name: np.concatenate([of[resolution][name] for of in regions], axis=1) for name in names}
        for resolution, names in regions[0].items()
    }
    return PlaneScores(stored.planes, same, soft, np.concatenate(shares, axis=1), by_resolution)


def score_block(
    stored: Stored,
    wanted: frozenset[str],
    sets: Sequence[PairSet],
    minimum_share: float,
    block: slice,
    threads: int = CORES,
) -> PlaneScores:
    """`score_planes` for a block of planes."""
    models, planes, classes, points = stored.models, block.stop - block.start, stored.classes, stored.resolution**2
    pairs = "reproducibility" in wanted and models > 1
    shares = np.empty((models, planes, classes), np.float32)
    grids = nested_resolutions(stored.resolution) if "fragmentation" in wanted else []
    by_resolution = {points: {name: np.empty((models, planes)) for name in Regions._fields} for _, points in grids}
    words = np.empty((_bits(classes), models if pairs else 0, -(-points // WORD), planes), np.uint64)

    def read(model: int) -> None:
        interruption.check()  # in a thread of its own, nobody else ends it
        maps = stored.labels(model, block)
        shares[model] = class_shares(maps, classes)
        for stride, resolution in grids:
            found = regions_of(maps[:, ::stride, ::stride], minimum_share)
            for name, on_planes in found._asdict().items():
                by_resolution[resolution][name][model] = on_planes
        if pairs:
            words[:, model] = bit_words(maps.reshape(1, planes, points), len(words))[:, 0]

    def compared(rows: slice) -> NDArray[np.uint32]:
        interruption.check()
        return agreeing_points(words, points, rows)

    for _ in in_turn(read, range(models), threads):
        pass
    same = soft = None
    if pairs:
        same, together = PairMeans(models, planes, sets, points), rows_together(models, planes)
        for rows, values in zip(together, in_turn(compared, together, threads), strict=True):
            same.add(slice(0, planes), rows, values)
    if pairs and stored.probabilities is not None:
        soft = PairMeans(models, planes, sets, points, float)
        for some in _blocks(stored, block, models * points * classes * 4):
            for plane, of_plane in enumerate(stored.probabilities(some).swapaxes(0, 1), some.start - block.start):
                flat = of_plane.reshape(models, -1).astype(np.float32)
                soft.add(slice(plane, plane + 1), slice(0, models), np.triu(flat @ flat.T, 1).astype(float)[..., None])
    return PlaneScores(planes, same, soft, shares, by_resolution)


def in_turn(of: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """What `of` gives for each item, computed in threads while the results before are used; few are in memory."""
    with ThreadPoolExecutor(threads) as pool:
        begun: deque[Future[Result]] = deque()
        for item in items:
            begun.append(pool.submit(of, item))
            if len(begun) > threads:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def _blocks(stored: Stored, block: slice, bytes_of_plane: int) -> list[slice]:
    """Parts of a block of planes, each as large as `CHUNK_BYTES` hold: whole numbers of those stored together."""
    each = max(1, CHUNK_BYTES // bytes_of_plane)
    if each > stored.together:
        each -= each % stored.together
    return [slice(first, min(first + each, block.stop)) for first in range(block.start, block.stop, each)]


def _bits(classes: int) -> int:
    return max(1, (classes - 1).bit_length())
