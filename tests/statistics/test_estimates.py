"""Estimates: values and pseudo-values, by hand and against leaving out one by one."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbviz_ray.analysis.statistics import estimates
from dbviz_ray.analysis.statistics.estimates import Estimate, difference, mean_estimate, pair_estimate, sample_estimate
from dbviz_ray.analysis.statistics.intervals import variances_of
from dbviz_ray.analysis.statistics.pseudo_values import LeavingOut


def symmetric(values: np.ndarray) -> np.ndarray:
    return (values + values.swapaxes(-1, -2)) / 2


def of_pairs(values: np.ndarray, **options: object) -> Estimate:
    first, second = np.triu_indices(values.shape[1], 1)
    return pair_estimate(values.mean(axis=0), values[:, first, second].mean(axis=1), **options)


def across(on_items: np.ndarray) -> Estimate:
    return estimates.cross_pair_estimate(on_items.mean(axis=0), on_items.mean(axis=(1, 2)), on_items)


def test_pseudo_values_of_a_mean_are_the_means_by_model_and_by_item():
    values = np.random.default_rng(0).random((4, 7))
    estimate = mean_estimate(values)
    assert (estimate.value, estimate.covers) == (pytest.approx(values.mean()), "models and items")
    assert estimate.by_item == pytest.approx(values.mean(axis=0))
    assert estimate.by_model[0] == pytest.approx(values.mean(axis=1))


@pytest.mark.parametrize("together", [1, 100])
def test_what_a_mean_shares_is_the_residual_mean_square_by_hand(together, monkeypatch):
    """Rows 0 4 and 2 2: residuals are all 1 in size, one degree of freedom, so MS = 4 over 4 cells."""
    monkeypatch.setattr(estimates.pseudo, "NUMBERS_TOGETHER", together)
    assert mean_estimate(np.array([[0.0, 4], [2, 2]])).shared == pytest.approx((1.0, 1.0))


def test_spread_between_models_by_hand():
    """Means 3/4 and 1/4 have the variance 1/8; residuals of 1/4 have MS = 1/6 with 3 degrees of freedom."""
    spread, beyond = estimates.spread_between_models(np.array([[1.0, 1, 1, 0], [0, 1, 0, 0]]))
    assert (spread**2, beyond**2) == pytest.approx((1 / 8, 1 / 8 - 1 / 24))
    assert estimates.spread_between_models(np.eye(4)) == (0, 0), "each is wrong once, on its own image"
    assert np.isnan(estimates.spread_between_models(np.ones((1, 4)))).all()


@pytest.mark.parametrize(("values", "levels"), [(np.array([[1.0, 2, 3]]), None), (np.eye(3), [np.zeros(3, int)])])
def test_one_model_or_seed_tells_nothing_of_others(values, levels):
    estimate = mean_estimate(values, levels)
    assert (estimate.by_model, estimate.shared, estimate.covers) == ((), (0, 0), "items")


@pytest.mark.parametrize(
    "make",
    [
        lambda: mean_estimate(np.zeros((3, 1))),
        lambda: pair_estimate(np.ones((3, 3)), np.ones(1)),
        lambda: estimates.cross_pair_estimate(np.ones((3, 3)), np.ones(1)),
        lambda: estimates.quantile_estimate(np.zeros((3, 1)), 0.5),
        lambda: estimates.quantile_estimate(np.zeros((2, 5)), 0.0),
        lambda: estimates.quantile_estimate(np.zeros((2, 5)), 1.0),
        lambda: difference(mean_estimate(np.zeros((2, 4))), mean_estimate(np.zeros((2, 5)))),
        lambda: estimates.logarithm(mean_estimate(np.zeros((2, 2)))),
    ],
)
def test_fewer_than_two_items_other_items_and_impossible_values_are_refused(make):
    with pytest.raises(ValueError, match=r"items|quantile|0"):
        make()


def test_pairs_that_are_not_used_or_not_defined_change_nothing():
    by_pair = symmetric(np.random.default_rng(1).random((5, 5)))
    used = np.ones((5, 5), bool)
    used[0, 1] = used[1, 0] = False
    hidden = by_pair.copy()
    hidden[0, 1] = hidden[1, 0] = np.nan
    items = np.array([0.2, 0.4])
    first, second = pair_estimate(by_pair, items, used), pair_estimate(hidden, items)
    assert first.value == second.value == pytest.approx(by_pair[np.triu(used, 1)].mean())
    assert first.by_model[0] == pytest.approx(second.by_model[0])


def test_a_model_in_every_used_pair_leaves_nothing_to_leave_out():
    used = np.zeros((4, 4), bool)
    used[0, 1:] = used[1:, 0] = True
    estimate = pair_estimate(np.ones((4, 4)), np.ones(3), used)
    assert (estimate.by_model, estimate.covers) == ((), "items")


def test_no_defined_pair_is_no_value():
    estimate = pair_estimate(np.full((3, 3), np.nan), np.full(4, np.nan))
    crossed = estimates.cross_pair_estimate(np.full((2, 3), np.nan), np.full(4, np.nan))
    assert np.isnan([estimate.value, crossed.value]).all()
    assert np.isnan(variances_of(difference(estimate, mean_estimate(np.ones((2, 4))))).total[0])


def test_cross_pairs_of_one_undefined_pair():
    by_pair = np.array([[0.2, 0.4], [0.6, np.nan]])
    estimate = estimates.cross_pair_estimate(by_pair, np.array([0.3, 0.5]))
    assert estimate.value == pytest.approx(0.4)
    assert np.ptp(estimate.by_model[0]) == pytest.approx(0.3)  # rows 0.3 and 0.6


def test_cross_pairs_count_what_two_factors_do_together_once():
    """The variance of three crossed factors, mean square by mean square, in loops."""
    generator = np.random.default_rng(2)
    effects = [generator.normal(0, 5, size) for size in ((6, 1, 1), (1, 3, 1), (1, 1, 4))]
    on_items = generator.normal(size=(6, 3, 4)) + sum(effects)
    estimate, sizes = across(on_items), on_items.shape

    def mean_square(axes: tuple[int, ...]) -> float:
        """Of the interaction of `axes`, over the number of cells."""
        effect = np.zeros([sizes[axis] if axis in axes else 1 for axis in range(3)])
        for subset in [[axis for bit, axis in enumerate(axes) if code >> bit & 1] for code in range(2 ** len(axes))]:
            averaged = tuple(axis for axis in range(3) if axis not in subset)
            effect = effect + (-1) ** (len(axes) - len(subset)) * on_items.mean(axis=averaged, keepdims=True)
        freedom = np.prod([sizes[axis] - 1 for axis in axes])
        return float((effect**2).sum() * np.prod([sizes[axis] for axis in range(3) if axis not in axes]) / freedom)

    mains = sum(mean_square((axis,)) for axis in range(3))
    twos = sum(mean_square(axes) for axes in ((0, 1), (0, 2), (1, 2)))
    expected = (mains - twos + mean_square((0, 1, 2))) / on_items.size
    assert variances_of(estimate).total[0] == pytest.approx(expected)
    assert (estimate.value, estimate.models) == (pytest.approx(on_items.mean()), 7)


def test_crossed_seeds_by_hand():
    """Two seeds of initialisation, each with three orders: means by seed 2 and 5, by order 2, 4 and 4.5.

    Their sums leave 0.5, -0.5, 0, -0.5, 0.5, 0 of the six: 1 / 2 degrees of freedom, over 6.
    """
    values = np.repeat(np.array([1.5, 2.5, 3.5, 3.5, 6.5, 6.5])[:, None], 4, axis=1)
    start, order = np.array([7, 7, 7, 9, 9, 9]), np.array([0, 1, 2, 0, 1, 2])
    estimate = mean_estimate(values, [start, order])
    assert estimate.joint == pytest.approx((1 / 12, 2))
    of_start, of_order = (float(np.var(means, ddof=1)) / len(means) for means in ([2.5, 5.5], [2.5, 4.5, 5]))
    alone = [sample.var(ddof=1) / len(sample) for sample in estimate.by_model]
    assert alone == pytest.approx([of_start - 1 / 12, of_order - 1 / 12])
    assert variances_of(estimate).total[0] == pytest.approx(of_start + of_order - 1 / 12)
    assert sample_estimate(values[:, 0], [start, order]).joint == estimate.joint


def test_what_crossed_seeds_do_together_alone_is_not_counted_for_each():
    """A chessboard of effects: no seed of either stream is better than another."""
    chessboard = np.array([1.0, -1, -1, 1, 1, -1, -1, 1])
    levels = [np.repeat(np.arange(4), 2), np.tile(np.arange(2), 4)]
    found = variances_of(mean_estimate(np.repeat(chessboard[:, None], 5, axis=1), levels)).total
    assert found == pytest.approx((8 / 3 / 8, 3))


def test_streams_that_vary_together_count_once():
    values = np.random.default_rng(0).random((4, 10))
    own = np.arange(4)
    alone = mean_estimate(values)
    together = mean_estimate(values, [own, own + 5, np.zeros(4, int)])
    assert len(together.by_model) == 1
    assert together.by_model[0] == pytest.approx(alone.by_model[0])
    assert together.shared == pytest.approx(alone.shared)
    nested = mean_estimate(values, [own, np.array([0, 0, 1, 1])])
    assert [len(sample) for sample in nested.by_model] == [2]


@settings(max_examples=20)
@given(st.integers(0, 1000), st.sampled_from([0.1, 0.5, 0.9]))
def test_a_quantile_is_the_mean_of_the_models_quantiles(seed, quantile):
    values = np.random.default_rng(seed).exponential(size=(3, 50))
    estimate = estimates.quantile_estimate(values, quantile)
    expected = np.quantile(values, quantile, axis=1)
    assert estimate.value == pytest.approx(expected.mean())
    assert estimate.by_model[0] == pytest.approx(expected)
    assert estimate.by_item.mean() == pytest.approx(expected.mean())


def test_the_variance_of_a_median_is_that_of_large_samples():
    """1 / (4 n f^2) with density 1 at the median of uniform numbers: mean over 200 samples of 400 items."""
    generator = np.random.default_rng(3)
    found = [variances_of(estimates.quantile_estimate(generator.random((1, 400)), 0.5)).total[0] for _ in range(200)]
    assert np.mean(found) == pytest.approx(1 / 1600, rel=0.1)


def test_differences_pair_items_and_keep_models_apart():
    generator = np.random.default_rng(0)
    items = generator.normal(0, 5, 30)
    first = mean_estimate(items + generator.normal(size=(3, 30)))
    second = mean_estimate(items + generator.normal(size=(4, 30)) + 1)
    between = difference(first, second)
    assert between.value == pytest.approx(first.value - second.value)
    assert between.by_item == pytest.approx(first.by_item - second.by_item)
    assert [len(sample) for sample in between.by_model] == [3, 4]
    assert all(sample.mean() == pytest.approx(between.value) for sample in between.by_model)
    assert between.shared[0] == pytest.approx(first.shared[0] + second.shared[0])
    assert (between.models, between.covers) == (7, "models and items")


def test_estimates_say_what_they_cover():
    values = np.random.default_rng(0).random((6, 1, 4))
    assert across(values).covers == "models of one side and items"
    assert len(across(values).by_model) == 1
    assert across(values[:, :, :1]).covers == "items"
    many, one = mean_estimate(np.random.default_rng(0).random((3, 5))), mean_estimate(np.ones((1, 5)))
    assert difference(many, one).covers == "models of one side and items"
    assert difference(one, one).covers == "items"
    assert difference(sample_estimate(np.arange(3.0)), sample_estimate(np.arange(4.0))).covers == "models"


def test_a_logarithm_has_relative_pseudo_values():
    estimate = mean_estimate(np.array([[1.0, 3], [3, 5]]))
    found = estimates.logarithm(estimate)
    assert found.value == pytest.approx(np.log(3))
    assert found.by_item == pytest.approx(np.log(3) + np.array([-1 / 3, 1 / 3]))
    assert variances_of(found).total[0] == pytest.approx(variances_of(estimate).total[0] / 9)


def test_what_is_not_known_of_one_model_is_not_known_of_the_mean():
    for levels in (None, [np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])]):
        estimate = sample_estimate(np.array([1.0, np.nan, 2, 3]), levels)
        assert np.isnan([estimate.value, variances_of(estimate).total[0]]).all()


@settings(max_examples=60)
@given(st.integers(2, 8), st.integers(1, 8), st.booleans(), st.sampled_from([1, 2, 5]), st.integers(0, 1000))
def test_each_seed_is_left_out(models, seeds, pairs, parts, seed):
    """Of models, or of pairs, some of which have one seed on both sides; however many come together."""
    generator = np.random.default_rng(seed)
    level = generator.integers(0, seeds, models)
    members = np.stack(np.triu_indices(models, 1), axis=1) if pairs else np.arange(models)[:, None]
    cells = generator.random((len(members), 3))
    leaving_out, names, without = LeavingOut(level), np.unique(level), []
    for name in names:
        kept = [cell for cell, own in zip(cells, members, strict=True) if name not in level[own]]
        without.append(np.mean(kept, axis=0) if kept else None)
    for some in np.array_split(np.arange(len(cells)), parts):
        leaving_out.add(cells[some], members[some])
    found = leaving_out.pseudo_values()
    if len(names) < 2 or any(mean is None for mean in without):
        assert found is None
    else:
        means = np.array(without)
        expected = cells.mean(axis=0) - (len(names) - 1) * (means - means.mean(axis=0))
        assert found == pytest.approx(expected)


@pytest.mark.parametrize("together", [1, 10, 17])
def test_rows_of_pairs_give_the_estimate_of_the_whole_matrix(together, monkeypatch):
    generator = np.random.default_rng(together)
    by_pair, by_item = symmetric(generator.random((6, 6))), generator.random(4)
    by_pair[0, 3] = by_pair[3, 0] = np.nan
    levels = [np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 2, 0, 1, 2])]
    for used in (None, levels[0][:, None] != levels[0]):
        whole = pair_estimate(by_pair, by_item, used, levels)
        with monkeypatch.context() as changed:
            changed.setattr(estimates, "PAIRS_TOGETHER", together)
            found = pair_estimate(by_pair, by_item, used, levels)
        assert (found.value, *found.joint) == pytest.approx((whole.value, *whole.joint))
        for own, same in zip(found.by_model, whole.by_model, strict=True):
            assert own == pytest.approx(same)


def test_a_thousand_models_in_one_group():
    """499,500 pairs in less memory than one number for each model and pair (4 GB) would take: 100 MB."""
    first, second = np.triu_indices(1000, 1)
    effects = np.arange(1000.0)
    cells = (effects[first] + effects[second])[:, None]
    members = np.stack([first, second], axis=1)
    tracemalloc.start()
    leaving_out = LeavingOut(np.arange(1000))
    leaving_out.add(cells, members)
    found = leaving_out.pseudo_values()
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()
    # Without model i the mean of the others falls by (e_i - mean) / 999, that of their pairs by twice that.
    expected = cells.mean() + 999 * 2 * (effects - effects.mean()) / 999
    assert found[:, 0] == pytest.approx(expected)


@given(st.integers(2, 7), st.integers(2, 9), st.integers(0, 1000))
def test_every_pair_needs_no_more_than_the_means_of_models(models, items, seed):
    on_items = np.random.default_rng(seed).random((items, models, models))
    on_items += on_items.transpose(0, 2, 1)
    expected, others = of_pairs(on_items, on_items=on_items), ~np.eye(models, dtype=bool)
    means = np.stack([on_items[:, own, others[own]].mean(axis=1) for own in range(models)])
    found = estimates.every_pair_estimate(means)
    assert (found.models, found.covers) == (expected.models, expected.covers)
    assert found.by_item == pytest.approx(expected.by_item)
    for own, same, of_means in zip(found.by_model, expected.by_model, of_pairs(on_items).by_model, strict=True):
        assert own == pytest.approx(same)
        assert own == pytest.approx(of_means)
    assert (found.value, *found.shared) == pytest.approx((expected.value, *expected.shared))
