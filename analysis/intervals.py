"""95 % intervals, ratios and tests of estimates, for few models and many items, in closed form.

The variances that models and items put into an estimate are added and turned into an interval with Student's t at
Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from analysis.estimates import Covers, Estimate, Floats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval, and what both are computed from.

    `covers` tells which samples the interval accounts for: with one model, or one pair, nothing is known about
    other trainings, and the interval is about other items only. "models of one side": see `cross_pair_estimate`.
    """

    value: float
    low: float
    high: float
    models: int
    items: int
    covers: Covers

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval_of(estimate: Estimate, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The estimate's 95 % interval, cut at the smallest and largest possible value; NaN ends where nothing is known."""
    variance, freedom = variance_of(estimate)
    reach = float(stats.t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(variance)
    low, high = max(bounds[0], estimate.value - reach), min(bounds[1], estimate.value + reach)
    return Interval(estimate.value, low, high, estimate.models, max(len(estimate.by_item), 1), estimate.covers)


def ratio_interval(first: Estimate, second: Estimate) -> Interval:
    """`first` / `second` of different models on the same items, both positive: the interval of the log-ratio."""
    raise NotImplementedError


def p_value(estimate: Estimate) -> float:
    """Two-sided p-value of the hypothesis that the true value is zero: for a difference, a paired test."""
    variance, freedom = variance_of(estimate)
    if variance == 0:
        return 1.0 if estimate.value == 0 else 0.0
    return float(2 * stats.t.sf(abs(estimate.value) / math.sqrt(variance), freedom))


def holm(p_values: Floats) -> Floats:
    """p-values corrected for their number (Holm 1979): rejecting those below 5 % errs at all in 5 % of the cases."""
    order = np.argsort(p_values)
    steps = np.maximum.accumulate(p_values[order] * (len(p_values) - np.arange(len(p_values))))
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def variance_of(estimate: Estimate) -> tuple[float, float]:
    """Variance of an estimate, and its degrees of freedom; (nan, nan) of a single model without items."""
    samples = [sample for sample in (*estimate.by_model, estimate.by_item) if len(sample) > 1]
    if not samples:
        return math.nan, math.nan
    parts = [(float(sample.var(ddof=1)) / len(sample), len(sample) - 1) for sample in samples]
    variance = max(sum(part for part, _ in parts) - estimate.shared, *(part for part, _ in parts), 0.0)
    if estimate.shared:
        parts.append((estimate.shared, estimate.shared_freedom))
    spread = sum(part**2 / freedom for part, freedom in parts)
    return variance, variance**2 / spread if spread else math.inf
