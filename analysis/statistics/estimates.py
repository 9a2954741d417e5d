"""Scores as estimates: a value, and the contributions of each model and of each item to it.

Models (trainings) and items (planes or images) are both samples: another training or another plane would give another
number. An estimate keeps pseudo-values for each of the two: numbers whose mean is the value and whose variance, divided
by their count, is the contribution of that sample to the variance of the value (Tukey's jackknife; for a plain mean
they are the means by model and by item). Differences of estimates on the same items are then paired item by item, and
an interval (`dbviz_ray.analysis.statistics.intervals`) needs nothing else, whatever the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .pseudo_values import (
    Floats,
    Levels,
    beyond_streams,
    interaction,
    leaving_out,
    reduced,
    three_together,
    varied,
)

Covers = Literal["models and items", "models of one side and items", "models", "items"]


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
    shared: float
    """Variance that both models and items count, with `shared_freedom` degrees of freedom."""
    shared_freedom: float
    models: int
    covers: Covers
    joint: float = 0.0
    """Variance from the interaction of crossed streams of seeds, with `joint_freedom` degrees of freedom."""
    joint_freedom: float = 0.0


def mean_estimate(values: Floats, levels: Levels | None = None) -> Estimate:
    """The mean over models and items, two crossed random factors.

    Its variance is (MS_models + MS_items - MS_residual) / (n_models n_items) (Searle, Casella and McCulloch, Variance
    Components, 1992, chapter 4); the residual is `shared`.

    Args:
        values: `[models, items]`, at least one model and two items.
        levels: Seeds that models share; by default every model is a sample of its own.
    """
    models, items = values.shape
    _check_items(items)
    of_models = _of_models(values, np.arange(models)[:, None], models, levels, each_item=True)
    return _estimate(float(values.mean()), values.mean(axis=0), of_models, models)


def sample_estimate(values: Floats, levels: Levels | None = None) -> Estimate:
    """The mean of one number for each model, `[models]`, without items; `levels` as in `mean_estimate`."""
    models = len(values)
    of_models = _of_models(values[:, None], np.arange(models)[:, None], models, levels, each_item=False)
    return replace(_estimate(float(values.mean()), np.empty(0), of_models, models), covers="models")


def pair_estimate(
    by_pair: Floats,
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
        levels: Seeds that models share; by default every model is a sample of its own.
        on_items: `[items, models, models]`, each pair on each item, with means `by_pair` and `by_item`. With it, the
            interaction of models and items is counted once; without it, twice, and intervals are slightly too wide.
    """
    models = len(by_pair)
    _check_items(len(by_item))
    counted = np.isfinite(by_pair) if used is None else used & np.isfinite(by_pair)
    pairs = np.argwhere(np.triu(counted, 1))
    if not len(pairs):
        return Estimate(float("nan"), np.empty(0), (), 0.0, 0, models, "items")
    first, second = pairs.T
    cells = by_pair[first, second][:, None] if on_items is None else on_items[:, first, second].T
    of_models = _of_models(cells, pairs, models, levels, each_item=on_items is not None)
    return _estimate(float(by_pair[first, second].mean()), by_item, of_models, models)


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
        return Estimate(float("nan"), np.empty(0), (), 0.0, 0, models, "items")
    value = float(by_pair[defined].mean())
    sides = [side for side in (_row_means(by_pair, value), _row_means(by_pair.T, value)) if len(side) > 1]
    terms = []
    if defined.all():
        terms += [(1, *interaction(by_pair))] if len(sides) == 2 else []
        if on_items is not None:
            terms += [(1, *interaction(on_items.mean(axis=axis).T)) for axis in (1, 2) if on_items.shape[3 - axis] > 1]
            terms += [(-1, *three_together(on_items))] if len(sides) == 2 else []
    shared, freedom = _sum_of(terms)
    covered: tuple[Covers, ...] = ("items", "models of one side and items", "models and items")
    return Estimate(value, by_item, tuple(sides), shared, freedom, models, covered[len(sides)])


def quantile_estimate(values: Floats, quantile: float, levels: Levels | None = None) -> Estimate:
    """The mean over models of a quantile over items.

    An item's pseudo-value is the quantile plus its influence, (quantile - [value <= Q]) / f(Q), averaged over models,
    with the density f estimated from the distance of two neighbouring quantiles (Bofinger 1975's bandwidth).

    Args:
        values: `[models, items]`.
        quantile: From 0 to 1, excluded.
        levels: Seeds that models share; by default every model is a sample of its own.
    """
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must lie between 0 and 1, not {quantile}")
    _check_items(values.shape[1])
    of_models = np.quantile(values, quantile, axis=1)
    influence = (quantile - (values <= of_models[:, None])) * _sparsity(values, quantile)[:, None]
    pseudo = of_models[:, None] + influence - influence.mean(axis=1, keepdims=True)
    return mean_estimate(pseudo, levels)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`first` - `second`, of different models on the same items: paired item by item."""
    value = first.value - second.value
    if not np.isfinite(value):  # nothing is known about one of them
        return Estimate(value, np.empty(0), (), 0.0, 0, first.models + second.models, "items")
    if len(first.by_item) != len(second.by_item):
        raise ValueError(f"differences pair items, but there are {len(first.by_item)} and {len(second.by_item)}")
    by_model = (
        *(value + (own - first.value) for own in first.by_model),
        *(value - (own - second.value) for own in second.by_model),
    )
    shared, freedom = _sum_of([(1, side.shared, side.shared_freedom) for side in (first, second)])
    joint = _sum_of([(1, side.joint, side.joint_freedom) for side in (first, second)])
    whole = {bool(side.by_model) for side in (first, second)}
    by_item = first.by_item - second.by_item
    if not len(by_item):
        covers: Covers = "models"
    elif whole == {True}:
        covers = "models and items"
    else:
        covers = "models of one side and items" if True in whole else "items"
    return Estimate(value, by_item, by_model, shared, freedom, first.models + second.models, covers, *joint)


def logarithm(estimate: Estimate) -> Estimate:
    """The logarithm of a positive score, by the delta method."""
    if estimate.value <= 0:
        raise ValueError(f"only a positive score has a logarithm, not {estimate.value}")

    def logarithms(pseudo: Floats) -> Floats:
        return np.asarray(np.log(estimate.value) + (pseudo - estimate.value) / estimate.value)

    return Estimate(
        float(np.log(estimate.value)),
        logarithms(estimate.by_item),
        tuple(logarithms(sample) for sample in estimate.by_model),
        estimate.shared / estimate.value**2,
        estimate.shared_freedom,
        estimate.models,
        estimate.covers,
        estimate.joint / estimate.value**2,
        estimate.joint_freedom,
    )


@dataclass(frozen=True)
class _OfModels:
    """The part of an estimate that comes from models; see its fields of the same names."""

    by_model: tuple[Floats, ...] = ()
    shared: tuple[float, float] = (0.0, 0.0)
    joint: tuple[float, float] = (0.0, 0.0)


def _estimate(value: float, by_item: Floats, of_models: _OfModels, models: int) -> Estimate:
    covers: Covers = "models and items" if of_models.by_model else "items"
    return Estimate(value, by_item, of_models.by_model, *of_models.shared, models, covers, *of_models.joint)


def _of_models(
    cells: Floats, members: NDArray[np.intp], models: int, levels: Levels | None, *, each_item: bool
) -> _OfModels:
    """Pseudo-values of every stream, and the interactions among streams and with items.

    Args:
        cells: `[cells, items]`, or `[cells, 1]` of means over items.
        members: `[cells, models of a cell]`.
        models: The number of models.
        levels: See `mean_estimate`.
        each_item: Whether `cells` has every item, and not only means.
    """
    streams = varied(levels, models)
    samples = [leaving_out(cells, members, level) for level in streams]
    known = [sample for sample in samples if sample is not None]
    if not known or len(known) < len(samples):
        return _OfModels()
    each = known[0] if len(streams) == 1 else leaving_out(cells, members, np.arange(models))
    assert each is not None  # leaving out one model leaves more than leaving out all with its seed
    by_model = tuple(sample.mean(axis=1) for sample in known)
    shared = interaction(each) if each_item else (0.0, 0.0)
    if len(streams) == 1:
        return _OfModels(by_model, shared)
    joint = beyond_streams(each.mean(axis=1), streams)
    return _OfModels(tuple(reduced(sample, joint[0]) for sample in by_model), shared, joint)


def _sum_of(terms: Sequence[tuple[int, float, float]]) -> tuple[float, float]:
    """Sum of variances (times, variance, freedom), and its degrees of freedom (Satterthwaite 1946)."""
    total = max(sum(times * variance for times, variance, _ in terms), 0.0)
    spread = sum((times * variance) ** 2 / freedom for times, variance, freedom in terms if variance)
    return total, total**2 / spread if spread else 0.0


def _row_means(by_pair: Floats, value: float) -> Floats:
    """Means of the rows with at least one defined pair, centred on the value."""
    defined = np.isfinite(by_pair)
    rows = np.where(defined, by_pair, 0.0).sum(axis=1)[defined.any(axis=1)] / defined.sum(axis=1)[defined.any(axis=1)]
    return np.asarray(rows - rows.mean() + value)


def _sparsity(values: Floats, quantile: float) -> Floats:
    """1 / density at the quantile of each row of `[models, items]`: slope of the quantile function around it.

    Bofinger's bandwidth for a normal density, n^(-1/5) (9/2 phi(z)^4 / (2 z^2 + 1)^2)^(1/5), cut at the ends.
    """
    z = float(stats.norm.ppf(quantile))
    bandwidth = (4.5 * float(stats.norm.pdf(z)) ** 4 / (2 * z**2 + 1) ** 2 / values.shape[1]) ** 0.2
    low, high = max(quantile - bandwidth, 0.0), min(quantile + bandwidth, 1.0)
    below, above = np.quantile(values, [low, high], axis=1)
    return np.asarray((above - below) / (high - low))


def _check_items(items: int) -> None:
    if items < 2:
        raise ValueError(f"an interval needs at least two items, not {items}")
