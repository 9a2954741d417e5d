"""Pseudo-values of scores that are means over cells, and the variances and interactions of the samples behind them.

A cell is a model or a pair of models; models are identified by their seeds. Leaving out a seed leaves out every cell
with a part of it, so cells that share a model do not count as independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Numbers = NDArray[np.float64] | NDArray[np.bool_]
Levels = Sequence[NDArray[np.int64]]
"""For each varied stream the level of each model, `[models]`: models with the same level share its seed."""
Variance = tuple[float, float]
"""A variance and its degrees of freedom."""
NO_VARIANCE: Variance = (0.0, 0.0)
LEVEL = 0.95
"""Of intervals."""
NUMBERS_TOGETHER = 2**20
"""Residuals in memory at a time."""


@dataclass(frozen=True)
class Variances:
    """The variances of a value."""

    items: Variance
    models: tuple[Variance, ...]
    """Of each sample of models, and of the interaction of crossed samples."""
    shared: Variance
    """The part that both count."""

    def reach(self, level: float = LEVEL) -> float:
        """The half-width of the interval at a level; NaN if nothing is known."""
        variance, freedom = self.total
        if not variance > 0:
            return variance
        (of_items, freedom_of_items), (of_models, freedom_of_models) = self.items, sum_of(self.models)
        alone = max(of_models - self.shared[0], 0.0)
        squares = student(level, freedom_of_items) ** 2 * of_items + student(level, freedom_of_models) ** 2 * alone
        return (student(level, freedom) * math.sqrt(variance) + math.sqrt(squares)) / 2

    @cached_property
    def total(self) -> Variance:
        """The variance of the value; (nan, nan) if nothing is known."""
        parts = [part for part in (self.items, *self.models) if part[1] > 0]
        if not parts:
            return math.nan, math.nan
        of_models, _ = sum_of(self.models)
        variance = max(self.items[0] + of_models - self.shared[0], self.items[0], of_models)
        return sum_of((*parts, self.shared), total=variance)


def student(level: float, freedom: float) -> float:
    """Student's t beyond which, on both sides, `1 - level` lies; 0 without freedom."""
    return float(special.stdtrit(freedom, (1 + level) / 2)) if freedom > 0 else 0.0


def sum_of(parts: Sequence[Variance], total: float | None = None) -> Variance:
    """The sum of variances, some of them negative, but at least 0; `total` replaces it.

    Its degrees of freedom are total^2 / sum of part^2 / freedom (Satterthwaite 1946).
    """
    total = max(sum(part for part, _ in parts), 0.0) if total is None else total
    spread = sum(part**2 / freedom for part, freedom in parts if part)
    return total, total**2 / spread if spread else 0.0


def variance_of_mean(sample: Floats) -> Variance:
    """What a sample, `[any]`, contributes to the variance of its mean; nothing if it has one value or none."""
    size = len(sample)
    if size < 2:
        return NO_VARIANCE
    centred = sample - sample.sum() / size  # sample.var is three times slower
    return float(centred @ centred) / ((size - 1) * size), size - 1


class LeavingOut:
    """Pseudo-values of a stream's levels: n * mean - (n - 1) * mean without the level, centred on the mean.

    Cells are taken in some at a time: of 10,000 models there are 50 million pairs. `level` is `[models]`.
    """

    def __init__(self, level: NDArray[np.int64]) -> None:
        names, self._own = np.unique(level, return_inverse=True)
        self._number, self._numbers = 0, np.zeros(len(names))
        self._start = self._sum = self._sums = np.zeros(1)

    def add(self, cells: Numbers, members: NDArray[np.intp]) -> None:
        """Take in `[cells, items]`, computed from the models `members`, `[cells, models of a cell]`."""
        if not self._number:
            self._start = cells.mean(axis=0)  # equal cells then add up to exactly 0
        cell, place = np.indices(members.shape).reshape(2, -1)
        own = self._own[members[cell, place]], cell
        part_in = sparse.csr_array((np.ones(len(cell)), own), (len(self._numbers), len(cells)))
        part_in.data[:] = 1  # a pair within one level counts once
        moved = cells - self._start
        self._sum, self._sums = self._sum + moved.sum(axis=0), self._sums + part_in @ moved
        self._number, self._numbers = self._number + len(cells), self._numbers + part_in.sum(axis=1)

    def pseudo_values(self) -> Floats | None:
        """`[levels, items]`, the score being the mean over both; None if a level is in every cell."""
        left = self._number - self._numbers
        if len(left) < 2 or not left.all():
            return None
        whole = self._sum / self._number
        gained = (self._sums - self._numbers[:, None] * whole) / left[:, None]
        # With levels of unequal size the mean of the pseudo-values has a bias of order 1/n; centring removes it.
        return np.asarray(self._start + whole + (len(left) - 1) * (gained - gained.mean(axis=0)))


def varied(levels: Levels | None, models: int) -> Levels:
    """The streams that vary independently; by default every model is its own level.

    A stream with one level does not vary. If two streams vary together, or one within the levels of the other, only the
    coarser one is kept: its levels are the independent samples, and the finer one would count them twice.
    """
    streams = [np.unique(level, return_inverse=True)[1] for level in levels or (np.arange(models),)]
    kept: list[NDArray[np.int64]] = []
    for level in sorted((stream for stream in streams if stream.max() > 0), key=lambda stream: int(stream.max())):
        together = (np.unique(np.stack([level, coarser]), axis=1).shape[1] for coarser in kept)
        if all(pairs > level.max() + 1 for pairs in together):  # it is within no coarser one
            kept.append(level)
    return kept


def interaction(values: Numbers) -> Variance:
    """What the interaction of crossed factors, such as `[samples, items]`, contributes to the variance of the mean.

    The residual mean square of all factors together over the number of values.
    """
    total, each = 0.0, max(1, NUMBERS_TOGETHER * len(values) // values.size)
    of_first = values.mean(axis=0, keepdims=True)
    for start in range(0, len(values), each):
        residuals = values[start : start + each] - of_first
        for axis in range(1, values.ndim):
            residuals -= residuals.mean(axis=axis, keepdims=True)
        total += float((residuals**2).sum())
    freedom = math.prod(size - 1 for size in values.shape)
    return total / (freedom * values.size), freedom


def beyond_streams(of_models: Floats, levels: Levels) -> Variance:
    """What the interaction of crossed streams contributes to the variance of the mean.

    The residual mean square of the models' pseudo-values, `[models]`, after the sum of the streams' effects, divided by
    their number; zero if the effects fit every model exactly.
    """
    if not np.isfinite(of_models).all():
        return NO_VARIANCE
    effects = np.concatenate([level[:, None] == np.unique(level) for level in levels], axis=1).astype(float)
    solution, _, rank, _ = np.linalg.lstsq(effects, of_models, rcond=None)
    freedom = len(of_models) - int(rank)
    if freedom == 0:
        return NO_VARIANCE
    return float(((of_models - effects @ solution) ** 2).sum()) / (freedom * len(of_models)), freedom


def reduced(pseudo_values: Floats, variance: float) -> Floats:
    """Pseudo-values, `[samples]`, that contribute less to the variance by `variance`, but at least nothing."""
    centre, (own, _) = pseudo_values.mean(), variance_of_mean(pseudo_values)
    return np.asarray(centre + (pseudo_values - centre) * np.sqrt(max(own - variance, 0.0) / own if own else 1.0))
