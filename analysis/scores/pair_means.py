"""Sets of pairs of models, and the means of a score of pairs over planes."""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ByRows:
    """A score of every two of so many models, `[models, models]`, whose rows are computed when they are read."""

    models: int
    of: Callable[[slice], Floats]

    def __len__(self) -> int:
        return self.models

    def __getitem__(self, rows: slice) -> Floats:
        return self.of(rows)


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs of one of `members` and one of `others`, by their places among all models."""

    members: Places
    others: Places
    used: Mask | None = None
    """`[members, others]`: which pairs belong to the set; every one by default."""
    singly: bool = False
    """Whether each pair is wanted on each plane, not only their mean."""
    every_two: bool = False
    """Whether every two of `members`, which are also the `others`, are a pair. No `used` is needed: of 10,000 models it
    takes 100 MB."""

    @cached_property
    def size(self) -> int:
        """The number of pairs."""
        if self.every_two:
            return math.comb(len(self.members), 2)
        return len(self.members) * len(self.others) if self.used is None else int(np.count_nonzero(self.used))

    @property
    def sides(self) -> tuple[Places, Places]:
        """Both models of every pair."""
        one, other = np.nonzero(self.mask)
        return self.members[one], self.others[other]

    @cached_property
    def key(self) -> Hashable:
        """Equal for sets of the same pairs."""
        used = None if self.used is None else np.packbits(self.used).tobytes()
        return self.members.tobytes(), self.others.tobytes(), used, self.singly, self.every_two

    def beginning_in(self, rows: slice) -> Iterator[tuple[Places, Places, Places]]:
        """The pairs whose earlier model is one of `rows`: that model, the later one, the pair's place in `sides`."""
        sides = (self.members, self.others, self.mask), (self.others, self.members, self.mask.T)
        for swapped, (ones, others, used) in enumerate(sides):
            own = np.flatnonzero((ones >= rows.start) & (ones < rows.stop))
            if len(own):
                one, other = np.nonzero(used[own] & (ones[own, None] < others))
                place = self._places[other, own[one]] if swapped else self._places[own[one], other]
                yield ones[own[one]], others[other], place

    @property
    def mask(self) -> Mask:
        """`[members, others]`: which pairs belong to the set, each once."""
        if self.used is not None:
            return self.used
        every = np.broadcast_to(True, (len(self.members), len(self.others)))
        return np.triu(every, 1) if self.every_two else every

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        if not self.singly:  # nobody asks for them, and they may be many
            return np.broadcast_to(0, self.mask.shape)
        return (np.cumsum(self.mask) - 1).reshape(self.mask.shape)


def pairs_within(members: Places, used: Mask | None = None, *, singly: bool = False) -> PairSet:
    """Every two of `members`, in ascending order; of these only the `used` `[members, members]`, if given."""
    if used is None:
        return PairSet(members, members, singly=singly, every_two=True)
    return PairSet(members, members, np.triu(used, 1), singly)


class PairMeans:
    """Means of a score of pairs: over planes for every pair, and on every plane for sets of pairs.

    `whole` is the number that stands for a score of 1. Sums over planes are kept in `dtype`, by default the smallest
    kind of whole numbers that holds them, so they stay exact.
    """

    def __init__(self, models: int, planes: int, sets: Iterable[PairSet], whole: int = 1, dtype: Any = None) -> None:
        self._sets = list({pairs.key: pairs for pairs in sets if pairs.size}.values())
        self._places = {pairs.key: place for place, pairs in enumerate(self._sets)}
        self._ends = np.cumsum([pairs.size * pairs.singly for pairs in self._sets])
        self._planes, self._whole, self._dtype = planes, whole, dtype
        self._models, self._sum = models, np.zeros(models * (models - 1) // 2 + 1, self._holding(planes))
        self._singly = np.empty((planes, self._ends[-1] if len(self._ends) else 0), self._holding(1))
        self._of_sets = np.zeros((planes, len(self._sets)), dtype or np.int64)

    def _holding(self, planes: int) -> Any:
        return self._dtype or np.min_scalar_type(planes * self._whole)

    def add(self, some: slice, rows: slice, values: NDArray[Any]) -> None:
        """Take in the models `rows` on the planes `some`: `[rows, models, planes]`, zero for all but later models."""
        for model, of_pairs in enumerate(values, rows.start):
            sums, start = of_pairs[model + 1 :].sum(axis=1, dtype=self._sum.dtype), self._place(model, model + 1)
            self._sum[start : start + len(sums)] += sums
        for place, pairs in enumerate(self._sets):
            if pairs.every_two and not pairs.singly:
                within = values
                if len(pairs.members) < self._models:
                    own = pairs.members[(pairs.members >= rows.start) & (pairs.members < rows.stop)]
                    within = values[np.ix_(own - rows.start, pairs.members)]
                self._of_sets[some, place] += within.sum(axis=(0, 1), dtype=self._of_sets.dtype)
                continue
            for earlier, later, position in pairs.beginning_in(rows):
                found = values[earlier - rows.start, later]
                self._of_sets[some, place] += found.sum(axis=0, dtype=self._of_sets.dtype)
                if pairs.singly:
                    self._singly[some, self._ends[place] - pairs.size + position] = found.T

    def by_pair(self, members: Places, others: Places) -> Floats:
        """Mean over planes: `[members, others]`; the diagonal, of a model with itself, means nothing."""
        first, second = np.minimum.outer(members, others), np.maximum.outer(members, others)
        return np.asarray(self._sum[self._place(first, second)] / (self._planes * self._whole))

    def within(self, members: Places) -> ByRows:
        """`by_pair` of every two of `members`."""
        return ByRows(len(members), lambda rows: self.by_pair(members[rows], members))

    def _place(self, first: Any, second: Any) -> Any:
        """Where the sum of a pair lies, the earlier model first; for a model with itself, somewhere."""
        return first * (2 * self._models - first - 1) // 2 + second - first - 1

    def on_planes(self, pairs: PairSet) -> Floats:
        """Mean over the pairs of a set, on every plane: `[planes]`."""
        return np.asarray(self._of_sets[:, self._places[pairs.key]] / (pairs.size * self._whole))

    def each_on_planes(self, pairs: PairSet) -> Floats:
        """Every pair of a set that is followed singly, on every plane: `[planes, pairs]`."""
        end = self._ends[self._places[pairs.key]]
        return np.asarray(self._singly[:, end - pairs.size : end] / self._whole)

    def extended(self, other: Self) -> Self:
        """These means, now over the planes of both."""
        self._planes += other._planes
        self._sum = self._sum.astype(self._holding(self._planes), copy=not self._sum.flags.writeable)  # if Ray's
        self._sum += other._sum
        self._singly = np.concatenate([self._singly, other._singly])
        self._of_sets = np.concatenate([self._of_sets, other._of_sets])
        return self
