"""Scores on planes while label maps stream past: nothing depends on how many are read at a time."""

import itertools
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbviz_ray.analysis.scores import plane_scores
from dbviz_ray.analysis.scores.pair_means import PairMeans, PairSet, pairs_within
from dbviz_ray.analysis.scores.plane_scores import Stored, score_planes
from dbviz_ray.analysis.scores.regions import class_shares, regions_of

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
    def labels(model, some):
        if asked is not None and model == 0:
            asked.append(some)
        return maps[model, some]

    probabilities = None if chances is None else lambda some: chances[:, some]
    return Stored(MODELS, PLANES, RESOLUTION, CLASSES, labels, probabilities, together)


SETS = [pairs_within(np.arange(MODELS), singly=singly) for singly in (True, False)]


@pytest.mark.parametrize("size", [1, MODELS * RESOLUTION**2 // 2 + 5, 2**30])
def test_scores_are_those_of_all_planes_at_once(maps, chances, monkeypatch, size):
    monkeypatch.setattr(plane_scores, "CHUNK_BYTES", size)
    found = score_planes(stored(maps, chances), BOTH, SETS, SHARE)
    assert found.planes == PLANES
    for model in range(MODELS):
        assert found.class_shares[model] == pytest.approx(class_shares(maps[model], CLASSES))
        for points, stride in ((25, 2), (49, 1)):
            for name, values in regions_of(maps[model][:, ::stride, ::stride], SHARE)._asdict().items():
                assert np.array_equal(found.by_resolution[points][name][model], values)
    assert list(found.by_resolution) == [25, 49]
    assert found.regions is found.by_resolution[49]
    pairs = list(itertools.combinations(range(MODELS), 2))
    same = np.stack([(maps[a] == maps[b]).mean(axis=(1, 2)) for a, b in pairs], axis=1)
    soft = np.stack([(chances[a].astype(float) * chances[b]).sum(axis=-1).mean(axis=(1, 2)) for a, b in pairs], axis=1)
    for means, naive, near in ((found.same_points, same, 1e-12), (found.soft_agreement, soft, 1e-5)):
        assert means.each_on_planes(SETS[0]) == pytest.approx(naive, rel=near)
        for pairs_of_all in SETS:
            assert means.on_planes(pairs_of_all) == pytest.approx(naive.mean(axis=1), rel=near)
        of_pairs = means.by_pair(np.arange(MODELS), np.arange(MODELS))
        assert [of_pairs[a, b] for a, b in pairs] == pytest.approx(naive.mean(axis=0).tolist(), rel=near)


@pytest.mark.parametrize(
    ("planes_at_a_time", "together", "expected"),
    [(3, 1, [3, 3, 1]), (3, 2, [2, 2, 2, 1]), (3, 50, [3, 3, 1]), (5, 5, [5, 2]), (0, 1, [1] * 7)],
)
def test_planes_that_are_stored_together_are_read_together(maps, monkeypatch, planes_at_a_time, together, expected):
    """Where memory holds them; if it holds fewer, as many as it holds, and one at least."""
    monkeypatch.setattr(plane_scores, "CHUNK_BYTES", planes_at_a_time * MODELS * RESOLUTION**2 * 2 // 8)
    asked = []
    score_planes(stored(maps, together=together, asked=asked), BOTH, [], SHARE)
    assert [some.stop - some.start for some in asked] == expected
    assert [plane for some in asked for plane in range(PLANES)[some]] == list(range(PLANES))


def test_what_is_not_asked_for_is_not_there(maps, chances):
    agreement = score_planes(stored(maps), frozenset({"reproducibility"}), SETS, SHARE)
    assert (agreement.regions, agreement.by_resolution) == ({}, {})
    assert agreement.same_points is not None
    assert agreement.soft_agreement is None
    regions = score_planes(stored(maps, chances), frozenset({"fragmentation"}), SETS, SHARE)
    assert regions.same_points is None
    assert regions.soft_agreement is None
    assert regions.regions["fragmentation"].min() >= 1


def places(pairs):
    return list(zip(*map(np.ndarray.tolist, pairs.sides), strict=True))


def test_pairs_within_and_between():
    members = np.array([1, 4, 6])
    assert places(pairs_within(members)) == [(1, 4), (1, 6), (4, 6)]
    used = np.array([[False, True, False], [True, False, True], [False, True, False]])
    assert places(pairs_within(members, used)) == [(1, 4), (4, 6)]
    between = PairSet(np.array([0, 2]), np.array([5, 3, 1]))
    assert places(between) == list(itertools.product((0, 2), (5, 3, 1)))


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 100))
def test_means_are_those_of_all_planes_together_however_they_come(planes, together, rows, seed):
    """Of every pair, and of sets on every plane, whether their pairs are followed singly or as a mean."""
    values = np.random.default_rng(seed).integers(0, 50, (planes, 6, 6))
    values += values.swapaxes(1, 2).copy()
    members, others, every = np.array([0, 2, 3, 5]), np.array([4, 1]), np.arange(6)
    later = np.triu(np.ones((6, 6), dtype=bool), 1)

    def sets(singly):
        within = [pairs_within(some, singly=singly) for some in (members, others[::-1])]
        return [*within, *(PairSet(members, others, used, singly) for used in (None, np.eye(4, 2, dtype=bool)))]

    without_pairs = pairs_within(np.array([3]))
    parts = []
    for block in (values[start : start + together] for start in range(0, planes, together)):
        parts.append(PairMeans(6, len(block), [*sets(True), without_pairs, *sets(False)], whole=100))
        for own in (slice(first, min(first + rows, 6)) for first in range(0, 6, rows)):
            parts[-1].add(slice(0, len(block)), own, np.where(later, block, 0)[:, own].transpose(1, 2, 0))
    means = reduce(PairMeans.extended, parts)
    values = values / 100
    assert means.by_pair(every, every)[later] == pytest.approx(values.mean(axis=0)[later])
    assert means.by_pair(others, members) == pytest.approx(values.mean(axis=0)[np.ix_(others, members)])
    for each, mean in zip(sets(True), sets(False), strict=True):
        naive = np.stack([values[:, a, b] for a, b in places(each)], axis=1)
        assert means.each_on_planes(each) == pytest.approx(naive)
        for pairs in (each, mean):
            assert means.on_planes(pairs) == pytest.approx(naive.mean(axis=1))
    with pytest.raises(KeyError):
        means.on_planes(without_pairs)
