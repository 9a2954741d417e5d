"""Advice on precision: what it says is what more models or items then give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dbviz_ray.analysis.statistics.estimates import Estimate, mean_estimate, sample_estimate
from dbviz_ray.analysis.statistics.intervals import Advice, advice_on, interval_of, variances_of

ANY = (-np.inf, np.inf)


def advice(estimate: Estimate, wanted: float, names: tuple[str, str] = ("seeds", "planes")) -> Advice:
    return advice_on(interval_of(estimate), variances_of(estimate), ANY, wanted, names)


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


def test_students_interval_by_hand():
    """Deviation 1 and no items: 18 models are the fewest with t(0.975, n - 1) / sqrt(n) at most 1/2."""
    found = advice(sample_estimate(np.array([-1.0, 0, 1])), 0.5)
    assert (found.models, found.items, found.both) == (18, None, None)
    assert found.reach == pytest.approx(stats.t.ppf(0.975, 2) / np.sqrt(3))
    assert "15 more seeds (18 in all)" in str(found)


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


def test_what_is_reached_needs_no_more():
    found = advice(effects(np.random.default_rng(0), 5, 100, 0.01, 0.01), 0.5)
    assert (found.models, found.items, found.both) == (5, 100, None)
    assert "more" not in str(found)


def test_one_model_is_advised_of_items_alone():
    found = advice(mean_estimate(np.random.default_rng(0).random((1, 50))), 0.01)
    assert found.models is None
    assert found.items is not None
    assert f"({found.items} in all) with 1 seed" in str(found)


def test_nothing_known_is_nothing_advised():
    found = advice(sample_estimate(np.array([0.25])), 0.01)
    assert (found.models, found.items, found.both) == (None, None, None)
    assert np.isnan(found.reach)


def test_what_alone_never_suffices():
    """Five models and four hundred planes of known mean squares: no chance in the numbers."""
    models, planes = np.array([-1.0, -0.5, 0, 0.5, 1]) / 50, np.tile([-1.0, 1], 200) / 10
    estimate = mean_estimate(0.5 + models[:, None] + planes)
    found = advice(estimate, 0.015)
    assert (found.models, found.items, found.both) == (10, None, None)
    for part in (str(found.interval), f"{found.reach:.3f}", "0.015", "5 more seeds (10 in all)", "400 planes"):
        assert part in str(found)
    found = advice(estimate, 0.005, ("trainings", "images"))
    assert (found.models, found.items) == (None, None)
    for number, present, name in zip(found.both, (5, 400), found.names, strict=True):
        assert f"{number - present} more {name} ({number} in all)" in str(found)


@pytest.mark.parametrize("wanted", [0.0, -1.0, float("nan")])
def test_a_wanted_precision_is_positive(wanted):
    with pytest.raises(ValueError, match="wanted"):
        advice(mean_estimate(np.zeros((2, 2))), wanted)
