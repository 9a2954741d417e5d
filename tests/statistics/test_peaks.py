"""The test of a peak: its parts by hand and against loops; how often it errs (tests/benchmarks/RESULTS.md)."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray.analysis.statistics import peaks
from dbviz_ray.analysis.statistics.estimates import mean_estimate, pair_estimate
from dbviz_ray.analysis.statistics.peaks import Pairs, find_peak, place_of_peak

CURVES = st.lists(st.floats(-5, 5), min_size=3, max_size=8).map(np.array)


def pairs_of(by_pair, trainings):
    return Pairs([by_pair[np.ix_(*of)] for of in pairwise(trainings)])


def estimates(generator, curve, models=3, of_models=0.05):
    """Of means with an effect of items that all points share."""
    draw = generator.normal
    easy = draw(0, 1, 40)
    points = (value + easy + of_models * draw(size=(models, 1)) + 0.1 * draw(size=(models, 40)) for value in curve)
    return [*map(mean_estimate, points)]


@given(CURVES)
def test_the_place_is_what_loops_find(values):
    inner = range(1, len(values) - 1)
    rises = [min(values[b] - min(values[:b]), values[b] - min(values[b + 1 :])) for b in inner]
    place = place_of_peak(values)
    assert (place is None) == (max(rises) <= 0)
    if place is not None:
        assert rises[place - 1] == max(rises)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=10).map(np.array), st.integers(0, 1000))
def test_the_statistic_is_what_loops_find(values, seed):
    """Of every three windows one after the other, without what items add."""
    points, variances = len(values), np.random.default_rng(seed).uniform(0.1, 1, len(values))
    windows = [range(at, at + size) for size in (1, 2, 3) if 3 * size <= points for at in range(points - size + 1)]
    means = {window: (values[window].mean(), variances[window].sum() / len(window) ** 2) for window in windows}

    def z(b, a):
        (high, of_high), (low, of_low) = means[b], means[a]
        return (high - low) / math.sqrt(of_high + of_low)

    def rise(b):
        before, after = ([w for w in windows if side(w)] for side in (lambda w: w[-1] < b[0], lambda w: w[0] > b[-1]))
        return min(max((z(b, a) for a in some), default=-math.inf) for some in (before, after))

    noise = peaks._Noise(np.zeros((points, points)), variances, np.ones(points))
    own = peaks._windows(points)
    found = peaks._largest_rises(noise, values[None], variances[None], own)
    assert found == pytest.approx(max(map(rise, windows)))


@pytest.mark.parametrize(
    ("values", "closest"),
    [
        ([9.0, 6, 3, 5], [9, 6, 3, 5]),
        ([9.0, 3, 7, 1], [9, 5, 5, 1]),
        ([9.0, 3, 7, 8], [9, 3, 7, 8]),
        ([9.0, 2, 2.2, 2.1, 1.9], [9, 2.05, 2.05, 2.05, 2.05]),
    ],
    ids=["no peak", "a peak becomes a step", "rising at the end", "steps within the noise are levelled"],
)
def test_the_closest_curve_without_a_peak_by_hand(values, closest):
    assert peaks._without_peak(np.array(values), 0.01 * np.eye(len(values))) == pytest.approx(np.array(closest))


@given(CURVES, st.integers(0, 100))
def test_the_closest_curve_has_no_peak(values, seed):
    roots = np.random.default_rng(seed).normal(size=(len(values), len(values) + 2))
    closest = peaks._without_peak(values, roots @ roots.T)
    assert place_of_peak(np.round(closest, 9)) is None


def test_a_peak_and_a_dip_beyond_chance_and_where_they_are():
    generator, curve = np.random.default_rng(0), [0.9, 0.2, 0.5, 0.9, 0.85, 0.3, 0.1]
    found = estimates(generator, curve)
    peak = find_peak(found, np.random.default_rng(1))
    assert (peak.place, peak.p_value < 0.01, peak.interval) == (3, True, (3, 4))
    dip = find_peak(found, np.random.default_rng(1), sign=-1)
    assert (dip.place, dip.p_value < 0.01, dip.interval) == (1, True, (1, 1))
    assert find_peak(estimates(generator, [0.9, 0.5, 0.1]), generator) is None


def test_two_trainings_tell_of_the_agreement_of_others_only_beside_other_points():
    pair = np.array([[1, 0.5], [0.5, 1]])
    found = [pair_estimate(pair + shift, np.linspace(0, 1, 9) + shift) for shift in (0, 0.3, 0.1)]
    alone = find_peak(found, np.random.default_rng(0))
    assert (alone.place, math.isnan(alone.p_value), alone.interval) == (1, True, None)
    by_pair = 0.5 + np.add.outer(*[np.array([0.01, -0.01] * 3)] * 2)
    beside = find_peak(found, np.random.default_rng(0), pairs=pairs_of(by_pair, np.arange(6).reshape(3, 2)))
    assert beside.place == 1
    assert 0 < beside.p_value < 0.05


@given(st.lists(st.integers(2, 4), min_size=2, max_size=5), st.integers(0, 1000))
def test_effects_of_trainings_without_effects_of_pairs(sizes, seed):
    """Their mean over pairs is twice the mean effect."""
    effects = np.random.default_rng(seed).normal(size=sum(sizes))
    trainings = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    found = pairs_of(0.5 + np.add.outer(effects, effects), trainings).variances()
    assert found == pytest.approx([4 * effects[own].var(ddof=1) / len(own) for own in trainings])


@pytest.mark.parametrize("size", [2, 3, 4])
def test_variances_of_pairs_are_unbiased(size):
    generator, found, means = np.random.default_rng(size), [], []
    trainings = np.arange(3 * size).reshape(3, size)
    for _ in range(1000):
        effects, of_pairs = generator.normal(0, 0.3, 3 * size), np.triu(generator.normal(0, 0.4, (3 * size,) * 2), 1)
        by_pair = np.add.outer(effects, effects) + of_pairs + of_pairs.T
        found.append(pairs_of(by_pair, trainings).variances())
        means.append([by_pair[np.ix_(own, own)][np.triu_indices(size, 1)].mean() for own in trainings])
    assert np.mean(found) == pytest.approx(4 * 0.09 / size + 2 * 0.16 / (size * (size - 1)), rel=0.1)
    assert np.var(means) == pytest.approx(np.mean(found), rel=0.1)


def test_values_without_variance_tell_nothing_alone_and_something_beside_others():
    constant = [mean_estimate(np.full((3, 6), value)) for value in (0.1, 0.9, 0.1)]
    assert math.isnan(find_peak(constant, np.random.default_rng(0)).p_value)
    constant[1] = mean_estimate(0.9 + np.random.default_rng(0).normal(0, 0.01, (3, 6)))
    assert find_peak(constant, np.random.default_rng(0)).p_value < 0.05


@pytest.mark.parametrize("curve", [[0] * 8, [1] + [0] * 7, [0] * 7 + [-1]], ids=["flat", "a step", "before a step"])
def test_false_alarms_of_curves_without_a_peak(curve, monkeypatch):
    """0 to 9 of 100 is what 3 to 5 % give; the interval of 7 such points is rarely short."""
    monkeypatch.setattr(peaks, "DRAWS", 300)
    generator = np.random.default_rng(5)
    found = [find_peak(estimates(generator, curve, models=2), generator) for _ in range(100)]
    assert sum(peak is not None and peak.p_value < 0.05 for peak in found) <= 9
