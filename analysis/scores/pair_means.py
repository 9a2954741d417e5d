"""What pairs of models have in common, averaged while planes stream past."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairSet:
    """Pairs of models, by their places."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    singly: bool
    """Whether each pair is wanted on each plane, not only their mean."""

    def __len__(self) -> int:
        return len(self.first)


class PairMeans:
    """Means of a score of pairs: over planes for every pair, and on every plane for sets of pairs.

    All that intervals need, in memory that grows with models^2 and with what the sets ask for, not with models^2 times
    planes.
    """

    def __init__(self, models: int, planes: int, sets: Mapping[Hashable, PairSet]) -> None:
        self._sum = np.zeros((models, models))
        self._planes = planes
        self._singly = _Followed({key: pairs for key, pairs in sets.items() if len(pairs) and pairs.singly})
        self._means = _Followed({key: pairs for key, pairs in sets.items() if len(pairs) and not pairs.singly})
        self._of_pairs = np.empty((planes, len(self._singly.first)))
        self._of_sets = np.empty((planes, len(self._means.sizes)))

    def add(self, some: slice, values: Floats) -> None:
        """Take in the planes `some`: `[those planes, models, models]`, symmetric."""
        self._sum += values.sum(axis=0)
        self._of_pairs[some] = values[:, self._singly.first, self._singly.second]
        if len(self._means.sizes):
            of_pairs = values[:, self._means.first, self._means.second]
            self._of_sets[some] = np.add.reduceat(of_pairs, self._means.starts, axis=1) / self._means.sizes

    @property
    def by_pair(self) -> Floats:
        """Mean over planes: `[models, models]`."""
        return np.asarray(self._sum / self._planes)

    def on_planes(self, key: Hashable) -> Floats:
        """Mean over the pairs of a set, on every plane: `[planes]`."""
        if key in self._singly.places:
            return np.asarray(self.each_on_planes(key).mean(axis=1))
        return np.asarray(self._of_sets[:, self._means.places[key]])

    def each_on_planes(self, key: Hashable) -> Floats:
        """Every pair of a set that is followed singly, on every plane: `[planes, pairs]`."""
        place = self._singly.places[key]
        start = self._singly.starts[place]
        return np.asarray(self._of_pairs[:, start : start + self._singly.sizes[place]])


class _Followed:
    """Pairs of several sets, one set after another."""

    def __init__(self, sets: Mapping[Hashable, PairSet]) -> None:
        self.places = {key: place for place, key in enumerate(sets)}
        self.sizes = np.array([len(pairs) for pairs in sets.values()], dtype=np.intp)
        self.starts = np.cumsum(self.sizes) - self.sizes
        nothing = np.empty(0, np.intp)
        self.first = np.concatenate([nothing, *(pairs.first for pairs in sets.values())])
        self.second = np.concatenate([nothing, *(pairs.second for pairs in sets.values())])


def pairs_within(members: NDArray[np.intp], used: NDArray[np.bool_] | None = None, *, singly: bool = False) -> PairSet:
    """Every two of `members`; of these only the `used` `[members, members]`, if given."""
    first, second = np.triu_indices(len(members), 1)
    if used is not None:
        kept = used[first, second]
        first, second = first[kept], second[kept]
    return PairSet(members[first], members[second], singly)


def pairs_between(members: NDArray[np.intp], others: NDArray[np.intp], *, singly: bool = False) -> PairSet:
    """Every one of `members` with every one of `others`."""
    return PairSet(np.repeat(members, len(others)), np.tile(others, len(members)), singly)
