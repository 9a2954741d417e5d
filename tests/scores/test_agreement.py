"""Agreement beyond chance and accuracy: by hand, and against leaving items out."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from dbviz_ray.analysis.scores import agreement as same_labels
from dbviz_ray.analysis.scores.agreement import agreement, capa_by_item, kappa_by_item
from dbviz_ray.analysis.statistics import estimates
from dbviz_ray.analysis.statistics.intervals import shares_of_images

CLASSES = 4


def shares_of(labels: np.ndarray) -> np.ndarray:
    return (labels[..., None] == np.arange(CLASSES)).mean(axis=2)


def kappa(labels: np.ndarray) -> np.ndarray:
    return same_labels.cohens_kappa(agreement(labels).mean(axis=0), shares_of(labels))[:]


@settings(max_examples=15)
@given(st.integers(0, 10_000))
def test_influences_of_planes_are_what_leaving_a_plane_out_changes(seed):
    """Of models that agree more than by chance, and prefer different classes."""
    generator = np.random.default_rng(seed)
    common = generator.integers(0, CLASSES, (60, 20))
    own = generator.choice(CLASSES, (3, 60, 20), p=[0.4, 0.3, 0.2, 0.1])
    labels = np.where(generator.random(own.shape) < 0.4, common, own).astype(np.uint8)
    same, shares = agreement(labels), shares_of(labels)
    each = kappa_by_item(same, shares)
    whole = kappa(labels)
    assert each.mean(axis=0) == pytest.approx(whole)
    without = np.array([kappa(np.delete(labels, plane, axis=1)) for plane in range(60)])
    assert 60 * whole - 59 * without == pytest.approx(each, abs=0.02)


def capa_of(predictions: np.ndarray, wrong: np.ndarray, classes: int) -> np.ndarray:
    return same_labels.capa(agreement(predictions[:, None])[0], wrong, classes)[:]


def test_models_that_are_never_wrong_tell_nothing():
    predictions = np.array([[0, 1], [0, 1], [0, 0]], dtype=np.uint8)
    wrong = np.array([[False, False], [False, False], [False, True]])
    found = capa_of(predictions, wrong, classes=2)
    assert np.isnan(found[0, 1])
    assert found[0, 2] == pytest.approx(0)
    for score in (capa_of, capa_by_item):
        with pytest.raises(ValueError, match="classes"):
            score(predictions, wrong, 1)


def test_influences_of_images_are_what_leaving_an_image_out_changes():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, 200)
    predictions = np.where(generator.random((3, 200)) < 0.6, labels, generator.integers(0, 3, (3, 200)))
    predictions = predictions.astype(np.uint8)
    wrong = predictions != labels
    whole, each = capa_of(predictions, wrong, 3), capa_by_item(predictions, wrong, 3)
    assert each.mean(axis=0) == pytest.approx(whole)
    without = [capa_of(np.delete(predictions, i, 1), np.delete(wrong, i, 1), 3) for i in range(200)]
    assert 200 * whole - 199 * np.array(without) == pytest.approx(each, abs=0.06)


@pytest.mark.parametrize("together", [1, 12, 100])
def test_means_by_image_need_no_number_for_each_pair(together, monkeypatch):
    monkeypatch.setattr(estimates, "PAIRS_TOGETHER", together)
    monkeypatch.setattr(same_labels, "ROW_BYTES", 100 * together)
    generator = np.random.default_rng(3)
    predictions = generator.integers(0, 3, (6, 50)).astype(np.uint8)
    wrong, same = predictions != generator.integers(0, 3, 50), agreement(predictions[:, None])[0]
    wrong[:2] = False  # one pair without a score
    used = np.triu(generator.random((6, 6)) < 0.6, 1)
    used[0, 1] = True
    alike, beyond = same_labels.mean_by_item(predictions, wrong, 3, same, used | used.T)
    assert alike == pytest.approx((predictions[:, None] == predictions)[used].mean(axis=0))
    assert beyond == pytest.approx(np.nanmean(capa_by_item(predictions, wrong, 3)[:, used], axis=1))
    every = ~np.eye(6, dtype=bool)
    assert np.array_equal(*(same_labels.mean_by_item(predictions, wrong, 3, same, pairs) for pairs in (None, every)))


def byte_by_byte(labels):
    return np.stack([(labels == own).mean(axis=2) for own in labels]).transpose(2, 0, 1)


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 200), st.integers(1, 2**16), st.integers(0, 2**32))
@example(1, 1, 1, 1, 0)
@example(2, 3, 64, 256, 0)
@example(3, 1, 65, 129, 0)
@example(2, 2, 9, 2**16, 0)
def test_agreement_is_that_of_whole_numbers(models, planes, points, classes, seed):
    """Models that differ in a tenth of their labels, with as many classes as two bytes hold."""
    generator = np.random.default_rng(seed)
    own = generator.integers(0, classes, (models, planes, points), dtype=np.min_scalar_type(classes - 1))
    labels = np.where(generator.random(own.shape) < 0.1, own, own[:1])
    labels[..., 0] = classes - 1
    before = labels.copy()
    assert np.array_equal(agreement(labels), byte_by_byte(labels))
    assert np.array_equal(labels, before)


@given(st.integers(1, 300), st.integers(1, 9), st.integers(1, 9))
def test_blocks_do_not_matter(size, planes, together):
    labels = np.random.default_rng(size).integers(0, 5, (3, planes, 70), dtype=np.uint8)
    expected = byte_by_byte(labels)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("BLOCK_BYTES", size), ("ROW_BYTES", size), ("PLANES", together)):
            patch.setattr(same_labels, name, value)
        blocks = list(same_labels.agreement_blocks(labels))
    assert np.array_equal(np.concatenate([values for _, values in blocks]), expected)
    assert [index for some, _ in blocks for index in range(planes)[some]] == list(range(planes))
    assert len(blocks) == -(-planes // together)


@pytest.mark.parametrize("images", [1, 7, 200])
def test_the_interval_of_a_share_is_the_exact_one(images):
    for count, interval in enumerate(shares_of_images(np.arange(images + 1), images)):
        exact = binomtest(count, images).proportion_ci(0.95, "exact")
        assert interval.value == count / images
        assert (interval.low, interval.high) == pytest.approx((exact.low, exact.high), abs=1e-11)
