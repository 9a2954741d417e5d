"""Intervals, tests and advice: by hand, and how often they are right (tests/benchmarks/coverage.py: of trainings)."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dbviz_ray.analysis.statistics import estimates, intervals
from dbviz_ray.analysis.statistics.estimates import Estimate, difference, mean_estimate, pair_estimate, sample_estimate
from dbviz_ray.analysis.statistics.intervals import interval_of, p_value, ratio_interval, variances_of

SHARES = np.array([0.5, 0.7, 0.9])


@pytest.mark.parametrize(
    ("estimate", "covers"),
    [
        (mean_estimate(SHARES[None]), "items"),
        (mean_estimate(np.repeat(SHARES[:, None], 50, axis=1)), "models and items"),
        (pair_estimate(np.full((2, 2), SHARES.mean()), SHARES), "items"),
        (sample_estimate(SHARES), "models"),
    ],
    ids=["one model", "models that differ equally on all items", "the pair of two models", "models alone"],
)
def test_where_one_thing_varies_it_is_students_interval(estimate, covers):
    interval = interval_of(estimate)
    low, high = stats.t.interval(0.95, 2, loc=SHARES.mean(), scale=stats.sem(SHARES))
    assert (interval.value, interval.low, interval.high) == pytest.approx((SHARES.mean(), low, high))
    assert interval.covers == covers


def test_two_samples_reach_halfway_between_two_formulas():
    """Variances 1/2 of two models and 1/4 of four items, nothing shared: by hand."""
    of_models, of_items = np.array([-1.0, 1]) / math.sqrt(2), np.array([-1.0, -1, 1, 1]) * math.sqrt(3) / 2
    estimate = mean_estimate(of_models[:, None] + of_items)
    variance, freedom = variances_of(estimate).total
    assert (variance, freedom) == pytest.approx((0.75, 0.75**2 / (0.5**2 / 1 + 0.25**2 / 3)))
    usual = stats.t.ppf(0.975, freedom) * math.sqrt(0.75)
    apart = math.hypot(stats.t.ppf(0.975, 1) * math.sqrt(0.5), stats.t.ppf(0.975, 3) * math.sqrt(0.25))
    assert interval_of(estimate).high == pytest.approx((usual + apart) / 2)


def test_jackknife_of_three_models_by_hand():
    """Pairs 0.6, 0.7, 0.8 on every plane: leaving one model out leaves one pair, variance 2/3 * 0.02."""
    matrix = np.array([[1, 0.6, 0.7], [0.6, 1, 0.8], [0.7, 0.8, 1]])
    on_items = np.repeat(matrix[None], 10, axis=0)
    interval = interval_of(pair_estimate(matrix, np.full(10, 0.7), on_items=on_items), bounds=(0, 1))
    reach = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * 0.02)
    answers = 0.7 * 0.3 * (stats.norm.ppf(0.975) / reach) ** 2  # as many have that deviation
    yes, no = 0.7 * answers, 0.3 * answers
    ends = stats.beta.ppf(0.025, yes, no + 1), stats.beta.ppf(0.975, yes + 1, no)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.7, *ends))


def test_no_variance_is_no_width():
    interval = interval_of(mean_estimate(np.zeros((3, 5))), bounds=(0, 1))
    assert (interval.low, interval.value, interval.high) == (0, 0, 0)
    assert p_value(mean_estimate(np.zeros((3, 5)))) == 1
    assert p_value(mean_estimate(np.ones((3, 6)))) == 2**-5  # the sign test of six items
    assert math.isnan(p_value(mean_estimate(np.ones((3, 5)))))  # five equal items cannot tell


def test_where_nothing_is_known_there_are_no_ends():
    alone = sample_estimate(np.array([1.5]))
    undefined = pair_estimate(np.full((3, 3), np.nan), np.full(4, np.nan))
    for estimate in (alone, undefined):
        interval = interval_of(estimate, bounds=(0, 1))
        assert np.isnan([interval.low, interval.high, p_value(estimate)]).all()
    assert alone.value == 1.5


def test_the_ratio_of_proportional_scores_is_exact():
    """Twice as much on every item, and no models that differ: no variance is left."""
    items = np.array([[1.0, 2, 3, 6]])
    interval = ratio_interval(mean_estimate(2 * items), mean_estimate(items))
    assert (interval.value, interval.low, interval.high) == pytest.approx((2, 2, 2))


def test_paired_tests_of_single_models_are_students():
    first, second = np.random.default_rng(0).normal(0, 1, (2, 1, 30))
    alone, paired = mean_estimate(first), difference(mean_estimate(first), mean_estimate(second))
    assert math.isnan(p_value(alone))
    assert math.isnan(p_value(paired))
    of_these = {"covers": "models and items"}  # as if the items told about other trainings
    assert p_value(replace(alone, **of_these)) == pytest.approx(stats.ttest_1samp(first[0], 0).pvalue, rel=1e-6)
    assert p_value(replace(paired, **of_these)) == pytest.approx(stats.ttest_rel(*first, *second).pvalue, rel=1e-6)


@given(st.integers(1, 4), st.integers(2, 12), st.integers(1, 4), st.floats(0, 3), st.integers(0, 1000))
def test_no_test_contradicts_its_interval(models, items, others, apart, seed):
    """Of rounded tables, in which values are often equal or zero."""
    generator = np.random.default_rng(seed)
    tables = (np.round(generator.normal(0, 1, (size, items)) + at) for size, at in ((models, apart), (others, 0)))
    estimate = difference(*map(mean_estimate, tables))
    interval, p = interval_of(estimate), p_value(estimate)
    assert math.isnan(p) or (p >= 0.05) == (interval.low <= 1e-9 and interval.high >= -1e-9)
    assert math.isnan(p) or min(models, others) > 1, "one training a side says nothing about others"


def test_p_is_five_percent_where_the_interval_ends_at_zero():
    estimate = mean_estimate(np.random.default_rng(0).normal(0, 1, (4, 30)))
    reach = interval_of(estimate).high - estimate.value
    for value, p in ((reach, pytest.approx(0.05)), (1e6, pytest.approx(0, abs=1e-6))):
        by_item, *by_model = (sample - estimate.value + value for sample in (estimate.by_item, *estimate.by_model))
        assert p_value(replace(estimate, value=value, by_item=by_item, by_model=tuple(by_model))) == p


@pytest.mark.parametrize("chances", [(0.01, 0.01), (0.03, 0.01), (0.1, 0.02), (0.05, 0.0), (0.3, 0.3), (0.6, 0.1)])
def test_intervals_of_changes_hold_the_truth(chances):
    """They are exact, so rather too wide; few images change in most cases."""
    won, lost, _ = np.random.default_rng(0).multinomial(500, [*chances, 1 - sum(chances)], 4000).T
    found = intervals.changes_of_images(won, lost, 500)
    held = np.mean([each.low <= chances[0] - chances[1] <= each.high for each in found])
    assert held >= 0.945
    assert [each.value for each in found] == pytest.approx((won - lost) / 500)
    assert all(each.low <= each.value <= each.high for each in found)


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1; never below an earlier one."""
    found = intervals.holm(np.array([0.04, 0.01, 0.03, 0.02]))
    assert found == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert intervals.holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])
    assert intervals.holm(np.array([])).shape == (0,)
    assert intervals.holm(np.array([0.01, math.nan, 0.04])) == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)


@pytest.mark.parametrize(("models", "interaction"), [(3, 0.0), (5, 0.06)])
def test_intervals_hold_the_truth_95_times_of_100(models, interaction):
    """Means, pairs, differences and ratios of two groups: of 300 times, within four deviations of 93 %.

    Effects of trainings are normal, those of planes skewed, as of pairs that nearly agree; 0.9 and 0.8 are true.
    """
    generator, held = np.random.default_rng(models), Counter()
    groups, true = {"a": slice(0, models), "b": slice(models, 2 * models)}, {"a": 0.9, "b": 0.8}
    for _ in range(300):
        planes = 0.1 * (2 / 7 - generator.beta(2, 5, (100, 1))) / math.sqrt(10 / (49 * 8))
        own = generator.normal(0, 0.02, 2 * models) + interaction * generator.normal(size=(100, 2 * models)) + planes
        own += np.repeat(list(true.values()), models)
        of_pairs = (own[:, :, None] + own[:, None, :]) / 2 + generator.normal(0, 0.05, (100, 1, 1))
        found = {}
        for name, side in groups.items():
            each = of_pairs[:, side, side]
            by_item = each[:, *np.triu_indices(models, 1)].mean(axis=1)
            found[f"pairs {name}"] = pair_estimate(each.mean(axis=0), by_item, on_items=each), true[name]
            found[f"mean {name}"] = mean_estimate(own[:, side].T), true[name]
        across = of_pairs[:, groups["a"], groups["b"]]
        found["across"] = estimates.cross_pair_estimate(across.mean(axis=0), across.mean(axis=(1, 2)), across), 0.85
        intervals = {name: (interval_of(estimate), value) for name, (estimate, value) in found.items()}
        for kind in ("pairs", "mean"):
            first, second = found[f"{kind} a"][0], found[f"{kind} b"][0]
            intervals[f"difference of {kind}"] = interval_of(difference(first, second)), 0.9 - 0.8
            intervals[f"ratio of {kind}"] = ratio_interval(first, second), 0.9 / 0.8
        held.update(name for name, (interval, value) in intervals.items() if interval.low <= value <= interval.high)
    shares = {name: count / 300 for name, count in held.items()}
    assert min(shares.values()) > 0.93 - 4 * math.sqrt(0.93 * 0.07 / 300), shares
    assert np.mean(list(shares.values())) < 0.985, shares  # one score's share tells too little of what is too wide


ANY = (-np.inf, np.inf)


def advice(estimate: Estimate, wanted: float, names: tuple[str, str] = ("seeds", "planes")) -> intervals.Advice:
    return intervals.advice_on(interval_of(estimate), variances_of(estimate), ANY, wanted, names)


def effects(generator: np.random.Generator, models: int, items: int, of_models: float, of_items: float) -> Estimate:
    values = 0.5 + generator.normal(0, of_models, (models, 1)) + generator.normal(0, of_items, items)
    return mean_estimate(values + generator.normal(0, 0.1, (models, items)))


@pytest.mark.parametrize(
    ("models", "items", "of_models", "of_items", "wanted"),
    [(10, 200, 0.05, 0.02, 0.01), (10, 100, 0.0, 0.2, 0.02), (12, 60, 0.05, 0.3, 0.03)],
    ids=["models", "items", "both"],
)
def test_following_the_advice_gives_about_the_wanted_precision(models, items, of_models, of_items, wanted):
    """Median over 40 samples of half the width that the advised numbers give, in a new sample."""
    generator = np.random.default_rng(models * items)
    reached = []
    for _ in range(40):
        found = advice(effects(generator, models, items, of_models, of_items), wanted)
        assert found.reach > wanted
        if found.models is not None:
            numbers = found.models, items
        else:
            numbers = found.both if found.items is None else (models, found.items)
        interval = interval_of(effects(generator, *numbers, of_models, of_items))
        reached.append((interval.high - interval.low) / 2)
    assert 0.85 * wanted < np.median(reached) < 1.15 * wanted


FIVE_SEEDS = mean_estimate(0.5 + np.array([-1.0, -0.5, 0, 0.5, 1])[:, None] / 50 + np.tile([-1.0, 1], 200) / 10)
"""On four hundred planes, with known mean squares: no chance in the numbers."""
ADVICE = {
    "18 is the least n with t(0.975, n - 1) / sqrt(n) of at most 1/2": (
        sample_estimate(np.array([-1.0, 0, 1])), 0.5, (18, None, None)),
    "it is reached": (effects(np.random.default_rng(0), 5, 100, 0.01, 0.01), 0.5, (5, 100, None)),
    "nothing is known": (sample_estimate(np.array([0.25])), 0.01, (None, None, None)),
    "more planes alone never suffice": (FIVE_SEEDS, 0.015, (10, None, None)),
}  # fmt: skip


@pytest.mark.parametrize(("estimate", "wanted", "advised"), ADVICE.values(), ids=ADVICE)
def test_how_many_are_advised(estimate, wanted, advised):
    found, interval = advice(estimate, wanted), interval_of(estimate)
    assert (found.models, found.items, found.both) == advised
    assert found.reach == pytest.approx((interval.high - interval.low) / 2, nan_ok=True)


def test_one_model_is_advised_of_items_alone():
    found = advice(mean_estimate(np.random.default_rng(0).random((1, 50))), 0.01)
    assert found.models is None
    assert f"({found.items} in all) with 1 seed" in str(found)


def test_where_neither_alone_suffices_both_are_advised():
    found = advice(FIVE_SEEDS, 0.005, ("trainings", "images"))
    assert (found.models, found.items) == (None, None)
    assert "5 more seeds (10 in all)" in str(advice(FIVE_SEEDS, 0.015))
    for number, present, name in zip(found.both, (5, 400), found.names, strict=True):
        assert f"{number - present} more {name} ({number} in all)" in str(found)


@settings(max_examples=30)
@given(st.integers(2, 8), st.integers(0, 1000), st.floats(0.001, 0.2))
def test_less_is_wanted_less_is_needed(models, seed, wanted):
    estimate = effects(np.random.default_rng(seed), models, 50, 0.03, 0.2)
    fine, coarse = advice(estimate, wanted), advice(estimate, 1.5 * wanted)
    assert fine.reach == coarse.reach
    for name in ("models", "items"):
        of_fine, of_coarse = getattr(fine, name), getattr(coarse, name)
        assert of_fine is None or of_coarse <= of_fine
    if fine.both is None:
        assert coarse.both is None
    else:
        assert (fine.models, fine.items) == (None, None)
        assert min(fine.both[0] - models, fine.both[1] - 50) >= 0


@pytest.mark.parametrize("wanted", [0.0, -1.0, float("nan")])
def test_a_wanted_precision_is_positive(wanted):
    with pytest.raises(ValueError, match="wanted"):
        advice(mean_estimate(np.zeros((2, 2))), wanted)
