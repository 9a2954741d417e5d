"""Scores on planes while label maps stream past: nothing depends on how many are read at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbviz_ray.analysis.scores import plane_scores
from dbviz_ray.analysis.scores.plane_scores import (
    REGION_SCORES,
    PairMeans,
    Stored,
    pairs_between,
    pairs_within,
    score_planes,
)
from dbviz_ray.analysis.scores.regions import class_shares, region_counts, regions_of

MODELS, PLANES, RESOLUTION, CLASSES = 4, 7, 49, 3
BOTH = frozenset({"reproducibility", "fragmentation"})
SHARE = 0.01


@pytest.fixture(scope="module")
def maps():
    """Blocks of 7 points a side, some of which each model changes."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, CLASSES, (PLANES, 7, 7), dtype=np.uint8)
    own = generator.integers(0, CLASSES, (MODELS, PLANES, 7, 7), dtype=np.uint8)
    coarse = np.where(generator.random(own.shape) < 0.3, own, truth)
    return coarse.repeat(7, axis=2).repeat(7, axis=3)


@pytest.fixture(scope="module")
def chances():
    values = np.random.default_rng(1).random((MODELS, PLANES, RESOLUTION, RESOLUTION, CLASSES))
    return (values / values.sum(axis=-1, keepdims=True)).astype(np.float16)


def stored(maps, chances=None, together=1, asked=None):
    def labels(some):
        if asked is not None:
            asked.append(some)
        return maps[:, some]

    probabilities = None if chances is None else lambda some: chances[:, some]
    return Stored(MODELS, PLANES, RESOLUTION, CLASSES, labels, probabilities, together)


def sets():
    return {singly: pairs_within(np.arange(MODELS), singly=singly) for singly in (True, False)}


@pytest.mark.parametrize("size", [1, 2 * MODELS * RESOLUTION**2 + 5, 2**30])
def test_scores_are_those_of_all_planes_at_once(maps, chances, monkeypatch, size):
    monkeypatch.setattr(plane_scores, "CHUNK_BYTES", size)
    found = score_planes(stored(maps, chances), BOTH, sets(), SHARE)
    assert found.planes == PLANES
    for model in range(MODELS):
        whole = regions_of(maps[model], CLASSES, SHARE)
        each = (whole.count, whole.large, whole.largest_share)
        for name, values in zip(REGION_SCORES, each, strict=True):
            assert np.array_equal(found.regions[name][model], values)
        assert found.class_shares[model] == pytest.approx(class_shares(maps[model], CLASSES))
        assert sorted(found.by_resolution) == [25, 49]
        for points, stride in ((25, 2), (49, 1)):
            for name, least in (("fragmentation", 0.0), ("large_regions", SHARE)):
                counts = region_counts(maps[model][:, ::stride, ::stride], least)
                assert np.array_equal(found.by_resolution[points][name][model], counts)
    pairs = list(itertools.combinations(range(MODELS), 2))
    same = np.stack([(maps[a] == maps[b]).mean(axis=(1, 2)) for a, b in pairs], axis=1)
    soft = np.stack([(chances[a].astype(float) * chances[b]).sum(axis=-1).mean(axis=(1, 2)) for a, b in pairs], axis=1)
    for means, naive, near in ((found.same_points, same, 1e-12), (found.soft_agreement, soft, 1e-5)):
        assert means.each_on_planes(True) == pytest.approx(naive, rel=near)
        for singly in (True, False):
            assert means.on_planes(singly) == pytest.approx(naive.mean(axis=1), rel=near)
        assert [means.by_pair[a, b] for a, b in pairs] == pytest.approx(naive.mean(axis=0).tolist(), rel=near)


@pytest.mark.parametrize(
    ("planes_at_a_time", "together", "expected"),
    [(3, 1, [3, 3, 1]), (3, 2, [2, 2, 2, 1]), (3, 50, [3, 3, 1]), (5, 5, [5, 2]), (0, 1, [1] * 7)],
)
def test_planes_that_are_stored_together_are_read_together(maps, monkeypatch, planes_at_a_time, together, expected):
    """Where memory holds them; if it holds fewer, as many as it holds, and one at least."""
    monkeypatch.setattr(plane_scores, "CHUNK_BYTES", planes_at_a_time * MODELS * RESOLUTION**2)
    asked = []
    score_planes(stored(maps, together=together, asked=asked), BOTH, {}, SHARE)
    assert [some.stop - some.start for some in asked] == expected
    assert [plane for some in asked for plane in range(PLANES)[some]] == list(range(PLANES))


def test_what_is_not_asked_for_is_not_there(maps, chances):
    agreement = score_planes(stored(maps), frozenset({"reproducibility"}), sets(), SHARE)
    assert (agreement.regions, agreement.by_resolution) == ({}, {})
    assert agreement.same_points is not None
    assert agreement.soft_agreement is None
    regions = score_planes(stored(maps, chances), frozenset({"fragmentation"}), sets(), SHARE)
    assert regions.same_points is None
    assert regions.soft_agreement is None
    assert regions.regions["fragmentation"].min() >= 1


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
