from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.intervals import cross_pair_interval, mean_interval, pair_interval, sample_interval


def test_one_model_is_students_interval_over_items():
    values = np.array([[1.0, 2, 4, 7, 3]])
    interval = mean_interval(values)
    low, high = stats.t.interval(0.95, 4, loc=values.mean(), scale=stats.sem(values[0]))
    assert (interval.value, interval.low, interval.high) == pytest.approx((values.mean(), low, high))
    assert (interval.models, interval.items, interval.covers) == (1, 5, "items")


def test_models_without_item_effects_are_students_interval_over_models():
    models = np.array([1.0, 3, 4, 8])
    interval = mean_interval(np.repeat(models[:, None], 50, axis=1))
    low, high = stats.t.interval(0.95, 3, loc=4, scale=stats.sem(models))
    assert (interval.low, interval.high) == pytest.approx((low, high))
    assert interval.covers == "models and items"


def test_two_models_have_one_pair_and_an_interval_over_items():
    shares = np.array([0.5, 0.7, 0.9])
    values = np.ones((3, 2, 2))
    values[:, 0, 1] = values[:, 1, 0] = shares
    interval = pair_interval(values, bounds=(-np.inf, np.inf))
    low, high = stats.t.interval(0.95, 2, loc=0.7, scale=stats.sem(shares))
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.7, low, high))
    assert interval.covers == "items"


def test_jackknife_of_three_models_by_hand():
    """Pairs 0.6, 0.7, 0.8 on every plane: leaving one model out leaves one pair, variance 2/3 * 0.02."""
    matrix = np.array([[1, 0.6, 0.7], [0.6, 1, 0.8], [0.7, 0.8, 1]])
    interval = pair_interval(np.repeat(matrix[None], 10, axis=0))
    reach = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * 0.02)
    assert interval.value == pytest.approx(0.7)
    assert interval.low == pytest.approx(0.7 - reach)
    assert interval.high == 1.0  # cut at what a share can be


def test_cross_pairs_by_hand():
    """Models' means 0.5 and 0.7 against 0.6, 0.6 and 0.6, the same on every plane: variance 0.02 / 2, one freedom."""
    values = np.repeat(np.array([[0.5] * 3, [0.7] * 3])[None], 10, axis=0)
    interval = cross_pair_interval(values, bounds=(-np.inf, np.inf))
    reach = stats.t.ppf(0.975, 1) * np.sqrt(0.02 / 2)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.6, 0.6 - reach, 0.6 + reach))
    assert (interval.models, interval.items, interval.covers) == (5, 10, "models and items")


def test_cross_pairs_add_the_variances_of_both_sides_and_of_items():
    generator = np.random.default_rng(0)
    values = generator.random((6, 3, 4))
    parts = [values.mean((1, 2)).var(ddof=1) / 6, values.mean((0, 2)).var(ddof=1) / 3]
    parts.append(values.mean((0, 1)).var(ddof=1) / 4)
    freedom = sum(parts) ** 2 / sum(part**2 / n for part, n in zip(parts, (5, 2, 3), strict=True))
    interval = cross_pair_interval(values, bounds=(-np.inf, np.inf))
    assert interval.high - interval.value == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(sum(parts)))


def test_one_model_on_a_side_is_said():
    values = np.random.default_rng(0).random((6, 1, 4))
    assert cross_pair_interval(values).covers == "models of one side and items"
    single = cross_pair_interval(values[:, :, :1], bounds=(-np.inf, np.inf))
    assert single.covers == "items"
    low, high = stats.t.interval(0.95, 5, loc=values[:, 0, 0].mean(), scale=stats.sem(values[:, 0, 0]))
    assert (single.low, single.high) == pytest.approx((low, high))


def test_no_variance_is_no_width():
    interval = mean_interval(np.zeros((3, 5)), bounds=(0, 1))
    assert (interval.low, interval.value, interval.high) == (0, 0, 0)


@pytest.mark.parametrize("models", [3, 5, 10])
@pytest.mark.parametrize("planes", [100, 500])
def test_intervals_cover_the_truth_95_times_of_100(models, planes):
    """Known effects of models, of planes and of both: 600 repetitions, so 0.95 +- 0.036 at four deviations."""
    generator = np.random.default_rng(models * planes)
    covered = {"mean": 0, "pairs": 0}
    repetitions = 600
    first, second = np.triu_indices(models, 1)
    for _ in range(repetitions):
        of_model, of_plane = generator.normal(0, 0.05, models), generator.normal(0, 0.5, planes)
        values = of_model[:, None] + of_plane + generator.normal(0, 0.3, (models, planes))
        interval = mean_interval(values)
        covered["mean"] += interval.low <= 0 <= interval.high
        pairs = np.zeros((planes, models, models))
        noise = generator.normal(0, 0.2, (planes, len(first)))
        pairs[:, first, second] = of_model[first] + of_model[second] + of_plane[:, None] + noise
        interval = pair_interval(pairs + pairs.transpose(0, 2, 1), bounds=(-np.inf, np.inf))
        covered["pairs"] += interval.low <= 0 <= interval.high
    shares = {name: count / repetitions for name, count in covered.items()}
    assert all(0.91 < share < 0.985 for share in shares.values()), shares


@pytest.mark.parametrize("models", [3, 5])
@pytest.mark.parametrize("planes", [100, 500])
def test_cross_pair_intervals_cover_the_truth_95_times_of_100(models, planes):
    """As above, between two groups of models."""
    generator = np.random.default_rng(models * planes)
    covered, repetitions = 0, 600
    for _ in range(repetitions):
        of_a, of_b, of_plane = (generator.normal(0, d, n) for d, n in ((0.05, models), (0.05, models), (0.5, planes)))
        noise = generator.normal(0, 0.2, (planes, models, models))
        values = of_a[:, None] + of_b + of_plane[:, None, None] + noise
        interval = cross_pair_interval(values, bounds=(-np.inf, np.inf))
        covered += interval.low <= 0 <= interval.high
    assert 0.91 < covered / repetitions < 0.985


def test_an_interval_over_models_alone_is_students():
    interval = sample_interval(np.array([1.0, 2.0, 3.0]))
    assert interval.value == 2
    assert interval.high - interval.value == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    alone = sample_interval(np.array([1.5]))
    assert alone.value == 1.5
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)
