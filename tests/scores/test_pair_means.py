"""Means of pairs, collected plane by plane."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbviz_ray.analysis.scores.plane_scores import PairMeans, pairs_between, pairs_within


def symmetric(planes, models, seed=0):
    values = np.random.default_rng(seed).random((planes, models, models))
    return (values + values.swapaxes(1, 2)) / 2


def test_pairs_within_and_between():
    within = pairs_within(np.array([1, 4, 6]))
    assert list(zip(within.first.tolist(), within.second.tolist(), strict=True)) == [(1, 4), (1, 6), (4, 6)]
    used = np.array([[False, True, False], [True, False, True], [False, True, False]])
    some = pairs_within(np.array([1, 4, 6]), used)
    assert list(zip(some.first.tolist(), some.second.tolist(), strict=True)) == [(1, 4), (4, 6)]
    between = pairs_between(np.array([0, 2]), np.array([5, 3, 1]))
    assert list(zip(between.first.tolist(), between.second.tolist(), strict=True)) == list(
        itertools.product((0, 2), (5, 3, 1))
    )
    assert (len(within), len(some), len(between)) == (3, 2, 6)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 100))
def test_means_are_those_of_all_planes_together_however_they_come(planes, together, seed):
    """Of every pair, and of sets on every plane, whether their pairs are followed singly or as a mean."""
    values = symmetric(planes, 6, seed)
    members = np.array([0, 2, 3, 5])
    sets = {
        (name, singly): pairs
        for singly in (True, False)
        for name, pairs in {
            "within": pairs_within(members, singly=singly),
            "one": pairs_within(np.array([1, 4]), singly=singly),
            "between": pairs_between(members, np.array([1, 4]), singly=singly),
            "nothing": pairs_within(np.array([3]), singly=singly),
        }.items()
    }
    means = PairMeans(6, planes, sets)
    for start in range(0, planes, together):
        some = slice(start, min(start + together, planes))
        means.add(some, values[some])
    assert means.by_pair == pytest.approx(values.mean(axis=0))
    naive = {
        "within": [values[:, a, b] for a, b in itertools.combinations(members, 2)],
        "one": [values[:, 1, 4]],
        "between": [values[:, a, b] for a in members for b in (1, 4)],
    }
    for name, pairs in naive.items():
        for singly in (True, False):
            assert means.on_planes((name, singly)) == pytest.approx(np.mean(pairs, axis=0))
        assert np.array_equal(means.each_on_planes((name, True)), np.stack(pairs, axis=1))


def test_a_set_without_pairs_is_not_followed():
    means = PairMeans(3, 2, {"nothing": pairs_within(np.array([1]))})
    means.add(slice(0, 2), symmetric(2, 3))
    with pytest.raises(KeyError):
        means.on_planes("nothing")
