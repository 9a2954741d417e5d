"""Scores as estimates: a value, and what it owes to each model and to each item.

Models (trainings) and items (planes, or images) are both samples: another training and another plane would have
given another number. An estimate keeps, for each of the two, pseudo-values: numbers whose mean is the value and whose
variance, divided by their count, is the variance that sample puts into it (Tukey's jackknife; for a plain mean they are
the means by model and by item). Differences of estimates on the same items are then paired item by item, and an interval
(`analysis.intervals`) needs nothing else, whatever the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Levels = Sequence[NDArray[np.int64]]
"""Which models share a random stream's seed: for each varied stream the level of each model, `[models]`."""
Covers = Literal["models and items", "models of one side and items", "models", "items"]


@dataclass(frozen=True)
class Estimate:
    """A score and its pseudo-values."""

    value: float
    by_item: Floats
    """`[items]`, mean `value`; empty for a score that has no items."""
    by_model: tuple[Floats, ...]
    """One array for each independent sample of models (or of seeds of one stream), `[its size]`, mean `value`; empty
    where nothing is known about other trainings: one model, or one pair."""
    shared: float
    """Variance of the value that items and models both count, with `shared_freedom` degrees of freedom."""
    shared_freedom: int
    models: int
    covers: Covers


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
    value, by_item = float(values.mean()), values.mean(axis=0)
    if models == 1:
        return Estimate(value, by_item, (), 0.0, 0, models, "items")
    of_models = values.mean(axis=1)
    residuals = values - of_models[:, None] - by_item + value
    freedom = (models - 1) * (items - 1)
    shared = float((residuals**2).sum()) / (freedom * models * items)
    by_model = tuple(_jackknifed(lambda kept: float(of_models[kept].mean()), level) for level in _levels(levels, models))
    return Estimate(value, by_item, by_model, shared, freedom, models, "models and items")


def sample_estimate(values: Floats) -> Estimate:
    """The mean of one number a model, `[models]`, without items."""
    by_model = (values,) if len(values) > 1 else ()
    return Estimate(float(values.mean()), np.empty(0), by_model, 0.0, 0, len(values), "models")


def pair_estimate(
    by_pair: Floats, by_item: Floats, used: NDArray[np.bool_] | None = None, levels: Levels | None = None
) -> Estimate:
    """The mean over pairs of models and over items.

    Pairs that share a model are not independent, so models' pseudo-values come from leaving one model (one seed of a
    stream) out. With two models there is one pair and nothing is known about other trainings.

    Args:
        by_pair: `[models, models]`, symmetric: each pair's mean over items; the diagonal is not used.
        by_item: `[items]`, each item's mean over the used pairs.
        used: `[models, models]`, symmetric: which pairs count; all by default.
        levels: Seeds that models share; by default every model is a sample of its own.
    """
    models = len(by_pair)
    _check_items(len(by_item))
    counted = ~np.eye(models, dtype=bool) if used is None else used & ~np.eye(models, dtype=bool)
    value = float(by_pair[counted].mean())
    if models == 2:
        return Estimate(value, by_item, (), 0.0, 0, models, "items")

    def mean_of(kept: NDArray[np.bool_]) -> float:
        pairs = counted & kept[:, None] & kept
        return float(by_pair[pairs].mean()) if pairs.any() else value

    by_model = tuple(_jackknifed(mean_of, level) for level in _levels(levels, models))
    return Estimate(value, by_item, by_model, 0.0, 0, models, "models and items")


def cross_pair_estimate(by_pair: Floats, by_item: Floats) -> Estimate:
    """The mean over every pair of a model of one group and a model of another, and over items.

    What models and items do together is counted on each side and among the items, so the interval is rather too wide
    than too narrow where that is much. A side with one model tells nothing about its other trainings.

    Args:
        by_pair: `[models of one group, models of the other]`, each pair's mean over items. No model belongs to both.
        by_item: `[items]`, each item's mean over pairs.
    """
    _check_items(len(by_item))
    sides = [side for side in (by_pair.mean(axis=1), by_pair.mean(axis=0)) if len(side) > 1]
    covered: tuple[Covers, ...] = ("items", "models of one side and items", "models and items")
    return Estimate(float(by_pair.mean()), by_item, tuple(sides), 0.0, 0, sum(by_pair.shape), covered[len(sides)])


def quantile_estimate(values: Floats, quantile: float) -> Estimate:
    """The mean over models of a quantile over items.

    An item's pseudo-value is the quantile plus its influence, (quantile - [value <= Q]) / f(Q), averaged over models,
    with the density f estimated from the distance of two neighbouring quantiles (Bofinger 1975's bandwidth).

    Args:
        values: `[models, items]`.
        quantile: From 0 to 1, excluded.
    """
    raise NotImplementedError


def difference(first: Estimate, second: Estimate) -> Estimate:
    """`first` - `second`, of different models on the same items: paired item by item."""
    value = first.value - second.value
    by_item = first.by_item - second.by_item
    by_model = (
        *(value + (own - first.value) for own in first.by_model),
        *(value - (own - second.value) for own in second.by_model),
    )
    whole = {bool(side.by_model) for side in (first, second)}
    if not len(by_item):
        covers: Covers = "models"
    elif whole == {True}:
        covers = "models and items"
    else:
        covers = "models of one side and items" if True in whole else "items"
    return Estimate(
        value,
        by_item,
        by_model,
        first.shared + second.shared,
        min(first.shared_freedom, second.shared_freedom),
        first.models + second.models,
        covers,
    )


def _levels(levels: Levels | None, models: int) -> Levels:
    return levels or (np.arange(models),)


def _jackknifed(mean_of, level):  # type: ignore[no-untyped-def]
    """Pseudo-values of the levels: n * mean - (n - 1) * mean without the level."""
    names = np.unique(level)
    whole = mean_of(np.ones(len(level), dtype=bool))
    without = np.array([mean_of(level != name) for name in names])
    return len(names) * whole - (len(names) - 1) * without


def _check_items(items: int) -> None:
    if items < 2:
        raise ValueError(f"an interval needs at least two items, not {items}")
