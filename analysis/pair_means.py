"""What pairs of models have in common, averaged while planes stream past."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
PairSet = tuple[NDArray[np.intp], NDArray[np.intp]]
"""Places of the first and of the second model of each pair."""


class PairMeans:
    """Means of a score of pairs: over planes for every pair, and on every plane for sets of pairs.

    All that intervals need, in memory that grows with models^2 + sets * planes instead of models^2 * planes.
    """

    def __init__(self, models: int, planes: int, sets: Mapping[Hashable, PairSet]) -> None:
        self._sum = np.zeros((models, models))
        self._planes = planes
        self._place = {key: place for place, key in enumerate(sets)}
        self._sizes = np.array([len(first) for first, _ in sets.values()])
        self._starts = np.concatenate([[0], np.cumsum(self._sizes)[:-1]]).astype(np.intp)
        self._first, self._second = (
            np.concatenate([side[index] for side in sets.values()]) if sets else np.empty(0, np.intp) for index in (0, 1)
        )
        self._on_planes = np.empty((len(sets), planes))

    def add(self, some: slice, values: Floats) -> None:
        """Take in the planes `some`: `[those planes, models, models]`, symmetric."""
        self._sum += values.sum(axis=0)
        if self._place:
            of_pairs = values[:, self._first, self._second]
            self._on_planes[:, some] = (np.add.reduceat(of_pairs, self._starts, axis=1) / self._sizes).T

    @property
    def by_pair(self) -> Floats:
        """Mean over planes: `[models, models]`."""
        return self._sum / self._planes

    def on_planes(self, key: Hashable) -> Floats:
        """Mean over the pairs of a set, on every plane: `[planes]`."""
        return self._on_planes[self._place[key]]


def pairs_within(members: NDArray[np.intp], used: NDArray[np.bool_] | None = None) -> PairSet:
    """Every two of `members`; of these only the `used` `[members, members]`, if given."""
    first, second = np.triu_indices(len(members), 1)
    if used is not None:
        kept = used[first, second]
        first, second = first[kept], second[kept]
    return members[first], members[second]


def pairs_between(members: NDArray[np.intp], others: NDArray[np.intp]) -> PairSet:
    """Every one of `members` with every one of `others`."""
    return np.repeat(members, len(others)), np.tile(others, len(members))
