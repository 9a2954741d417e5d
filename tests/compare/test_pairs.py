"""All pairs at once: against estimates one by one, definitions, and in little memory."""

import tracemalloc
from dataclasses import astuple, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from dbviz_ray.analysis.compare.scores import ANY, CORRECTED, SHARE, scores_of
from dbviz_ray.analysis.scores.agreement import agreement, capa_by_item, kappa_by_item
from dbviz_ray.analysis.scores.regions import class_shares, regions_of
from dbviz_ray.analysis.statistics.estimates import difference, mean_estimate, pair_estimate
from dbviz_ray.analysis.statistics.intervals import holm, interval_of, p_value


def alike_models(models, images, planes, classes, seed=0):
    """Names, predictions, label maps and true classes; the last two models, if there are four, are one."""
    generator = np.random.default_rng(seed)
    truth, base = generator.integers(0, classes, images), generator.integers(0, classes, (planes, 6, 6))

    def mostly(right):
        return np.where(generator.random(right.shape) < 0.6, right, generator.integers(0, classes, right.shape))

    predicted, maps = [mostly(truth) for _ in range(models)], np.stack([mostly(base) for _ in range(models)])
    if models > 3:
        predicted[-1], maps[-1] = predicted[-2], maps[-2]
    return [f"{n}" for n in range(models)], predicted, maps.astype(np.min_scalar_type(classes - 1)), truth


def close(found, expected):
    """Whether intervals are equal to 1e-12, and what they cover."""
    numbers, words = astuple(found)[:3], astuple(found)[3:]
    assert numbers == pytest.approx(astuple(expected)[:3], abs=1e-12, nan_ok=True)
    assert words == astuple(expected)[3:]


@pytest.mark.parametrize(("models", "classes"), [(2, 2), (3, 10), (5, 4), (4, 1000)])
def test_all_pairs_at_once_are_as_one_by_one(models, classes):
    names, predicted, maps, truth = alike_models(models, 90, 7, classes)
    found = scores_of(names, predicted, maps, truth, classes)
    same, on_images = agreement(maps.reshape(models, 7, -1)), np.stack(predicted)
    kappa = kappa_by_item(same, np.stack([class_shares(own, classes) for own in maps]))
    capa = capa_by_item(on_images, on_images != truth, classes)
    regions = [mean_estimate(regions_of(own, 0.0).fragmentation[None].astype(float)) for own in maps]
    first, second = np.triu_indices(models, 1)
    for pair, a, b in zip(found.pairs, first, second, strict=True):
        assert (pair.old, pair.new) == (names[a], names[b])
        right = on_images[[a, b]] == truth
        close(pair.reproducibility, interval_of(mean_estimate(same[None, :, a, b]), SHARE))
        for own, by_item in ((pair.kappa, kappa), (pair.on_images.capa, capa)):
            close(own, interval_of(mean_estimate(by_item[None, :, a, b]), CORRECTED))
        change = difference(regions[b], regions[a])
        close(pair.regions_change, interval_of(change, ANY))
        assert pair.regions_p == pytest.approx(p_value(replace(change, covers="models and items")), abs=1e-11)
        wins, losses = (right[1] & ~right[0]).sum(), (right[0] & ~right[1]).sum()
        assert (pair.on_images.wins.value, pair.on_images.losses.value) == (wins / 90, losses / 90)
        assert pair.on_images.churn.value == pytest.approx((predicted[a] != predicted[b]).mean())
        assert pair.kappa.value == pytest.approx(cohen_kappa_score(maps[a].ravel(), maps[b].ravel()))
    corrected = holm(np.array([pair.regions_p for pair in found.pairs]))
    assert [pair.regions_p_holm for pair in found.pairs] == pytest.approx(corrected.tolist(), nan_ok=True)
    for own, each in ((found.reproducibility, same), (found.agreement_on_images, agreement(on_images[:, :, None]))):
        close(own, interval_of(pair_estimate(each.mean(0), each[:, first, second].mean(1), on_items=each), SHARE))
    for model, own, of in zip(found.models, predicted, maps, strict=True):
        assert model.classes_predicted == len({*own.tolist(), *of.ravel().tolist()})
    assert (found.images, found.shape) == (90, (7, 6))
    assert np.array_equal(found.same_points, same[:, first, second].T)


def test_pairs_of_many_models_take_little_memory():
    """One number for each image and pair would take 1 GB."""
    models = alike_models(250, 4000, 10, 10)
    tracemalloc.start()
    try:
        found = scores_of(*models, 10)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(found.pairs) == 31_125
    assert peak < 1.2e8


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=2, max_size=30))
def test_churn_is_as_defined_and_symmetric(images):
    old, new, labels = np.array(images).T

    def between(*predicted):
        return scores_of(["a", "b"], predicted, np.zeros((2, 2, 2, 2), np.uint8), labels, 4).pairs[0]

    change, opposite = between(old, new).on_images.accuracy_change, between(new, old).on_images.accuracy_change
    found, back = between(old, new).on_images, between(new, old).on_images
    wins, losses = sum((new == labels) & (old != labels)), sum((old == labels) & (new != labels))
    assert found.churn.value == pytest.approx(np.mean(old != new))
    assert (found.wins.value, found.losses.value) == pytest.approx((wins / len(images), losses / len(images)))
    assert found.p_value == pytest.approx(binomtest(wins, wins + losses).pvalue if wins + losses else 1)
    assert (found.wins, found.losses, found.p_value) == (back.losses, back.wins, back.p_value)
    assert change.value == pytest.approx(found.wins.value - found.losses.value)
    assert (change.low, change.high) == pytest.approx((-opposite.high, -opposite.low))
    assert (change.low <= 0 <= change.high) == (found.p_value >= 0.05), "the test does not contradict the interval"
    for share in (found.churn, found.wins, found.losses):
        assert 0 <= share.low <= share.value <= share.high <= 1
