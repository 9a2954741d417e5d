"""Scores as estimates: a value, and the contributions of each model and of each item to it.

Models (trainings) and items (planes or images) are both samples: another training or another plane would give another
number. An estimate keeps pseudo-values for each of the two: numbers whose mean is the value and whose variance, divided
by their count, is the contribution of that sample to the variance of the value (Tukey's jackknife; for a plain mean
they are the means by model and by item). Differences of estimates on the same items are then paired item by item, and
an interval (`dbviz_ray.analysis.statistics.intervals`) needs nothing else, whatever the score.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import special

from . import pseudo_values as pseudo
from .pseudo_values import NO_VARIANCE, Floats, Levels, Numbers, Variance

Covers = Literal["models and items", "models of one side and items", "models", "items"]
PAIRS_TOGETHER = 2**20
"""Pairs in memory at a time, about."""
BY_SIDES_KNOWN: tuple[Covers, ...] = ("items", "models of one side and items", "models and items")
"""What two groups' estimate covers, by how many of them tell about other models."""


class Rows(Protocol):
    """A matrix that is read some rows at a time: an array, or one whose rows are computed then."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Floats: ...


@dataclass(frozen=True)
class Estimate:
    """A score and its pseudo-values."""

    value: float
    """NaN if no pair counts; there are then no pseudo-values."""
    by_item: Floats
    """`[items]`, with mean `value`; empty for a score without items."""
    by_model: tuple[Floats, ...]
    """One array for each independent sample of models (or of seeds of one stream), `[its size]`, with mean `value`.
    Empty if nothing is known about other trainings: one model, or one pair."""
    models: int
    covers: Covers
    shared: Variance = NO_VARIANCE
    """The part that both models and items count."""
    joint: Variance = NO_VARIANCE
    """From the interaction of crossed streams of seeds."""


def mean_estimate(values: Numbers, levels: Levels | None = None) -> Estimate:
    """The mean of `values` `[models, items]`, two crossed random factors; at least one model and two items.

    Its variance is (MS_models + MS_items - MS_residual) / (n_models n_items) (Searle, Casella and McCulloch, Variance
    Components, 1992, chapter 4); the residual is `shared`. `levels` are seeds that models share; by default every model
    is a sample of its own.
    """
    models, items = values.shape
    _check_items(items)
    value, by_item = float(values.mean()), values.mean(axis=0)
    streams = pseudo.varied(levels, models)
    if len(streams) == 1 and streams[0].max() + 1 == models:  # a model's pseudo-values are then its values
        shared = pseudo.interaction(values)
        return Estimate(value, by_item, (values.mean(axis=1),), models, "models and items", shared)
    leaving_out = _LeavingOut(models, levels)
    leaving_out.add(values, np.arange(models)[:, None])
    return leaving_out.estimate(value, by_item)


def spread_between_models(values: Numbers) -> tuple[float, float]:
    """Standard deviation of the models' means over items, and what would remain of it with infinitely many items.

    Models are wrong on different images of one test set by chance: of the variance of their means, the residual mean
    square of the two crossed factors over the number of items goes away (Jordan 2023, arXiv 2304.01910). An estimate
    below zero counts as zero. `values` are `[models, items]`; NaN for one model.
    """
    if len(values) < 2:
        return np.nan, np.nan
    variance = float(values.mean(axis=1).var(ddof=1))
    by_chance = len(values) * pseudo.interaction(values)[0]
    return variance**0.5, max(variance - by_chance, 0.0) ** 0.5


def sample_estimate(values: Floats, levels: Levels | None = None) -> Estimate:
    """The mean of one number for each model, `[models]`, without items; `levels` as in `mean_estimate`."""
    leaving_out = _LeavingOut(len(values), levels)
    leaving_out.add(values[:, None], np.arange(len(values))[:, None])
    return replace(leaving_out.estimate(float(values.mean()), np.empty(0)), covers="models")


def pair_estimate(
    by_pair: Rows,
    by_item: Floats,
    used: NDArray[np.bool_] | None = None,
    levels: Levels | None = None,
    on_items: Floats | None = None,
) -> Estimate:
    """The mean over pairs of models and over items.

    Pairs that share a model are not independent, so the models' pseudo-values come from leaving out one model (one seed
    of a stream). Two models make one pair, which says nothing about other trainings; the same holds if one model (or
    one seed) is in every used pair. The effect of a pair apart from its two models is counted up to four times (three
    models; 8/3 times for five), so an interval tends to be too wide rather than too narrow.

    Args:
        by_pair: `[models, models]`, symmetric: each pair's mean over items. The diagonal is not used, and NaN marks a
            pair without a score.
        by_item: `[items]`, each item's mean over the used pairs that are defined.
        used: `[models, models]`, symmetric: which pairs count; all by default.
        levels: As in `mean_estimate`.
        on_items: `[items, models, models]`, each pair on each item, with means `by_pair` and `by_item`. With it, the
            interaction of models and items is counted once; without it, twice, and intervals are slightly too wide.
    """
    models = len(by_pair)
    _check_items(len(by_item))
    leaving_out, total, number = _LeavingOut(models, levels), 0.0, 0
    for rows in blocks_of_rows(models):
        values = by_pair[rows]
        counted = np.isfinite(values) if used is None else used[rows] & np.isfinite(values)
        pairs = np.argwhere(np.triu(counted, 1 + rows.start))
        if len(pairs):
            of_pairs = values[tuple(pairs.T)]
            pairs[:, 0] += rows.start
            leaving_out.add(of_pairs[:, None] if on_items is None else on_items[:, *pairs.T].T, pairs)
            total, number = total + of_pairs.sum(), number + len(pairs)
    return leaving_out.estimate(float(total / number), by_item) if number else _unknown(models)


def blocks_of_rows(models: int) -> list[slice]:
    """Some models at a time, so that their pairs with all are about `PAIRS_TOGETHER`."""
    each = max(1, PAIRS_TOGETHER // models)
    return [slice(start, min(start + each, models)) for start in range(0, models, each)]


def every_pair_estimate(partners: Floats) -> Estimate:
    """`pair_estimate` of every two models with every pair on every item, from no more than the models' own means.

    A model's pseudo-value, n mean - (n - 1) mean without it, is mean + 2 (n - 1) / (n - 2) (its mean - mean).
    `partners` is each model's mean over its pairs, on each item: `[models, items]`.
    """
    models, by_item = len(partners), partners.mean(axis=0)
    if models == 2:
        return replace(mean_estimate(by_item[None]), models=2)
    return mean_estimate(by_item + 2 * (models - 1) / (models - 2) * (partners - by_item))


def cross_pair_estimate(by_pair: Floats, by_item: Floats, on_items: Floats | None = None) -> Estimate:
    """The mean over every pair of a model of one group and a model of another, and over items.

    Its variance is that of three crossed factors: mean squares of both sides and of items, minus those of every two
    together, plus that of all three. A side with one model says nothing about its other trainings.

    Args:
        by_pair: `[models of one group, models of the other]`, each pair's mean over items. No model belongs to both.
            NaN marks a pair without a score.
        by_item: `[items]`, each item's mean over pairs.
        on_items: `[items, models of one group, models of the other]`, each pair on each item. Without it, the
            interaction of models and items is counted several times, and intervals are slightly too wide.
    """
    _check_items(len(by_item))
    defined = np.isfinite(by_pair)
    models = sum(by_pair.shape)
    if not defined.any():
        return _unknown(models)
    value = float(by_pair[defined].mean())
    sides = tuple(side for side in (_row_means(by_pair, value), _row_means(by_pair.T, value)) if len(side) > 1)
    terms = []
    if defined.all() and len(sides) == 2:
        terms.append(pseudo.interaction(by_pair))
    if defined.all() and on_items is not None:
        terms += [pseudo.interaction(on_items.mean(axis=axis).T) for axis in (1, 2) if on_items.shape[3 - axis] > 1]
        if len(sides) == 2:
            variance, freedom = pseudo.interaction(on_items)
            terms.append((-variance, freedom))
    return Estimate(value, by_item, sides, models, BY_SIDES_KNOWN[len(sides)], pseudo.sum_of(terms))


def quantile_estimate(values: Floats, quantile: float, levels: Levels | None = None) -> Estimate:
    """The mean over models of a quantile over items.

    An item's pseudo-value is the quantile plus its influence, (quantile - [value <= Q]) / f(Q), averaged over models,
    with the density f estimated from the distance of two neighbouring quantiles (Bofinger 1975's bandwidth). `values`
    are `[models, items]`, `levels` as in `mean_estimate`.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1, not {quantile}")
    _check_items(values.shape[1])
    of_models = np.quantile(values, quantile, axis=1)
    influence = (quantile - (values <= of_models[:, None])) * _sparsity(values, quantile)[:, None]
    moved = of_models[:, None] + influence - influence.mean(axis=1, keepdims=True)
    return mean_estimate(moved, levels)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`first` - `second`, of different models on the same items: paired item by item."""
    value, models = first.value - second.value, first.models + second.models
    if not np.isfinite(value):  # nothing is known about one of them
        return _unknown(models)
    if len(first.by_item) != len(second.by_item):
        raise ValueError(f"differences pair items, but there are {len(first.by_item)} and {len(second.by_item)}")
    by_model = (
        *(value + (own - first.value) for own in first.by_model),
        *(value - (own - second.value) for own in second.by_model),
    )
    covers = BY_SIDES_KNOWN[bool(first.by_model) + bool(second.by_model)] if len(first.by_item) else "models"
    shared, joint = pseudo.sum_of([first.shared, second.shared]), pseudo.sum_of([first.joint, second.joint])
    return Estimate(value, first.by_item - second.by_item, by_model, models, covers, shared, joint)


def logarithm(estimate: Estimate) -> Estimate:
    """The logarithm of a positive score, by the delta method."""
    if estimate.value <= 0:
        raise ValueError(f"only a positive score has a logarithm, not {estimate.value}")
    value = float(np.log(estimate.value))

    by_item, *by_model = (value + (own / estimate.value - 1) for own in (estimate.by_item, *estimate.by_model))
    shared, joint = ((part / estimate.value**2, freedom) for part, freedom in (estimate.shared, estimate.joint))
    return replace(estimate, value=value, by_item=by_item, by_model=tuple(by_model), shared=shared, joint=joint)


def _unknown(models: int) -> Estimate:
    return Estimate(float("nan"), np.empty(0), (), models, "items")


class _LeavingOut:
    """Makes the estimate of a mean over cells: pseudo-values of every stream, and interactions of streams and items.

    Cells are `[cells, items]`, or `[cells, 1]` of means over items; the interaction with items is then not known.
    """

    def __init__(self, models: int, levels: Levels | None) -> None:
        self._models, self._streams = models, pseudo.varied(levels, models)
        each_model = [np.arange(models)] if len(self._streams) > 1 else []
        self._samples = [pseudo.LeavingOut(level) for level in (*self._streams, *each_model)]

    def add(self, cells: Numbers, members: NDArray[np.intp]) -> None:
        """Take in cells and the models of each, `[cells, models of a cell]`."""
        for sample in self._samples:
            sample.add(cells, members)

    def estimate(self, value: float, by_item: Floats) -> Estimate:
        """The estimate, from the means of the cells over all and by item."""
        known = [found for sample in self._samples if (found := sample.pseudo_values()) is not None]
        if not known or len(known) < len(self._samples):
            return Estimate(value, by_item, (), self._models, "items")
        *_, each = known
        by_model, joint = tuple(sample.mean(axis=1) for sample in known[: len(self._streams)]), NO_VARIANCE
        if len(self._streams) > 1:
            joint = pseudo.beyond_streams(each.mean(axis=1), self._streams)
            by_model = tuple(pseudo.reduced(sample, joint[0]) for sample in by_model)
        shared = pseudo.interaction(each) if each.shape[1] > 1 else NO_VARIANCE
        return Estimate(value, by_item, by_model, self._models, "models and items", shared, joint)


def _row_means(by_pair: Floats, value: float) -> Floats:
    """Means of the rows with at least one defined pair, centred on the value."""
    rows = np.nanmean(by_pair[np.isfinite(by_pair).any(axis=1)], axis=1)
    return np.asarray(rows - rows.mean() + value)


def _sparsity(values: Floats, quantile: float) -> Floats:
    """1 / density at the quantile of each row of `[models, items]`: slope of the quantile function around it.

    Bofinger's bandwidth for a normal density, n^(-1/5) (9/2 phi(z)^4 / (2 z^2 + 1)^2)^(1/5), cut at the ends.
    """
    z = float(special.ndtri(quantile))
    density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    bandwidth = (4.5 * density**4 / (2 * z**2 + 1) ** 2 / values.shape[1]) ** 0.2
    low, high = max(quantile - bandwidth, 0.0), min(quantile + bandwidth, 1.0)
    below, above = np.quantile(values, [low, high], axis=1)
    return np.asarray((above - below) / (high - low))


def _check_items(items: int) -> None:
    if items < 2:
        raise ValueError(f"an interval needs at least two items, not {items}")
