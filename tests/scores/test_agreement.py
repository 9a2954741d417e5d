"""Agreement beyond chance and accuracy: against scikit-learn, by hand, and against leaving items out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from dbviz_ray.analysis.scores.agreement import (
    agreement,
    beyond_chance,
    cohens_kappa,
    error_consistency,
    error_consistency_by_item,
    kappa_by_item,
)

CLASSES = 4


def shares_of(labels: np.ndarray) -> np.ndarray:
    return (labels[..., None] == np.arange(CLASSES)).mean(axis=2)


def kappa(labels: np.ndarray) -> np.ndarray:
    return cohens_kappa(agreement(labels).mean(axis=0), shares_of(labels))


def random_labels(seed: int, models: int = 3, planes: int = 6, points: int = 20) -> np.ndarray:
    """Models that agree more than by chance, and prefer different classes."""
    generator = np.random.default_rng(seed)
    common = generator.integers(0, CLASSES, (planes, points))
    own = generator.choice(CLASSES, (models, planes, points), p=[0.4, 0.3, 0.2, 0.1])
    return np.where(generator.random(own.shape) < 0.4, common, own).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_kappa_is_scikit_learns_on_all_points(seed):
    labels = random_labels(seed)
    found = kappa(labels)
    for a in range(3):
        for b in range(3):
            assert found[a, b] == pytest.approx(cohen_kappa_score(labels[a].ravel(), labels[b].ravel()))
    assert (found == found.T).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(CLASSES)))
def test_names_of_classes_do_not_matter(seed, names):
    labels = random_labels(seed)
    assert kappa(np.array(names, dtype=np.uint8)[labels]) == pytest.approx(kappa(labels))


def test_kappa_of_independent_maps_is_zero():
    """60 pairs' worth of points: 200,000 points a pair, so a deviation of about 0.002."""
    generator = np.random.default_rng(0)
    labels = generator.choice(CLASSES, (4, 100, 2000), p=[0.7, 0.1, 0.1, 0.1]).astype(np.uint8)
    assert np.abs(kappa(labels)[np.triu_indices(4, 1)]).max() < 0.01


def test_kappa_by_hand():
    """6 of 8 points alike; the shares of class 0 are 1/2 and 1/4, so chance is 1/8 + 3/8."""
    labels = np.array([[[0, 0, 1, 1], [0, 0, 1, 1]], [[0, 1, 1, 1], [0, 1, 1, 1]]], dtype=np.uint8)
    assert kappa(labels)[0, 1] == pytest.approx((0.75 - 0.5) / 0.5)


def test_models_of_one_class_agree_trivially():
    labels = np.ones((3, 2, 10), dtype=np.uint8)
    labels[2, 0, 0] = 0
    found = kappa(labels)
    assert np.isnan(found[0, 1])
    assert found[0, 2] == pytest.approx(0)  # as much as chance: the one says 1 everywhere
    each = kappa_by_item(agreement(labels), shares_of(labels))
    assert np.isnan(each[:, 0, 1]).all()
    assert np.isfinite(each[:, 0, 2]).all()


def test_opposite_constant_models_do_not_agree():
    labels = np.stack([np.zeros((2, 5), np.uint8), np.ones((2, 5), np.uint8)])
    assert kappa(labels)[0, 1] == 0


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_influences_of_planes_are_what_leaving_a_plane_out_changes(seed):
    labels = random_labels(seed, planes=60)
    same, shares = agreement(labels), shares_of(labels)
    each = kappa_by_item(same, shares)
    whole = kappa(labels)
    assert each.mean(axis=0) == pytest.approx(whole)
    without = np.array([kappa(np.delete(labels, plane, axis=1)) for plane in range(60)])
    assert 60 * whole - 59 * without == pytest.approx(each, abs=0.02)


def test_pairs_across_groups_are_a_part_of_all_pairs():
    labels = random_labels(3, models=5)
    same, shares = agreement(labels), shares_of(labels)
    across = same[:, :2, 2:]
    assert cohens_kappa(across.mean(axis=0), shares[:2], shares[2:]) == pytest.approx(kappa(labels)[:2, 2:])
    each = kappa_by_item(across, shares[:2], shares[2:])
    assert each == pytest.approx(kappa_by_item(same, shares)[:, :2, 2:])


def test_error_consistency_by_hand():
    """Both right on 1 of 4, accuracies 1/2, alike on 2 of 4: chance is 1/4 + 1/4 / 2."""
    predictions = np.array([[0, 1, 1, 1], [0, 2, 1, 0]], dtype=np.uint8)
    wrong = np.array([[False, False, True, True], [False, True, True, False]])
    expected = 0.25 + 0.25 / 2
    found = error_consistency(predictions, wrong, classes=3)
    assert found[0, 1] == found[1, 0] == pytest.approx((0.5 - expected) / (1 - expected))
    assert found[0, 0] == pytest.approx(1)


def test_independent_models_of_any_accuracy_are_as_consistent_as_expected():
    generator = np.random.default_rng(1)
    wrong = generator.random((3, 100_000)) < np.array([0.1, 0.3, 0.6])[:, None]
    predictions = np.where(wrong, generator.integers(1, 5, wrong.shape), 0).astype(np.uint8)
    found = error_consistency(predictions, wrong, classes=5)
    assert np.abs(found[np.triu_indices(3, 1)]).max() < 0.02


def test_models_that_are_never_wrong_tell_nothing():
    predictions = np.array([[0, 1], [0, 1], [0, 0]], dtype=np.uint8)
    wrong = np.array([[False, False], [False, False], [False, True]])
    found = error_consistency(predictions, wrong, classes=2)
    assert np.isnan(found[0, 1])
    assert found[0, 2] == pytest.approx(0)
    with pytest.raises(ValueError, match="classes must be at least 2, not 1"):
        error_consistency(predictions, wrong, classes=1)


def test_influences_of_images_are_what_leaving_an_image_out_changes():
    generator = np.random.default_rng(2)
    labels = generator.integers(0, 3, 200)
    predictions = np.where(generator.random((3, 200)) < 0.6, labels, generator.integers(0, 3, (3, 200))).astype(
        np.uint8
    )
    wrong = predictions != labels
    whole, each = error_consistency(predictions, wrong, 3), error_consistency_by_item(predictions, wrong, 3)
    assert each.mean(axis=0) == pytest.approx(whole)
    without = [error_consistency(np.delete(predictions, i, 1), np.delete(wrong, i, 1), 3) for i in range(200)]
    assert 200 * whole - 199 * np.array(without) == pytest.approx(each, abs=0.06)
    assert error_consistency_by_item(predictions, wrong, 3, np.array([2])) == pytest.approx(each[:, :, 2:])


def test_beyond_chance_is_one_for_perfect_and_zero_for_expected_agreement():
    found = beyond_chance(np.array([1.0, 0.3, 0.2, 1.0]), np.array([0.3, 0.3, 0.6, 1.0]))
    assert found[:3] == pytest.approx([1, 0, -1])
    assert np.isnan(found[3])
