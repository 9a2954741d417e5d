"""Agreement of labels against comparing them byte by byte."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dbviz_ray.analysis.scores import agreement as same_labels
from dbviz_ray.analysis.scores.agreement import agreement, agreement_blocks


def byte_by_byte(labels):
    models, planes, _ = labels.shape
    shares = np.empty((planes, models, models))
    for a, b in itertools.product(range(models), repeat=2):
        shares[:, a, b] = (labels[a] == labels[b]).mean(axis=1)
    return shares


def test_agreement_by_hand():
    labels = np.array([[[0, 1, 2, 3]], [[0, 1, 2, 0]], [[1, 1, 1, 1]]], dtype=np.uint8)
    shares = agreement(labels)
    assert shares.shape == (1, 3, 3)
    assert shares[0].tolist() == [[1, 0.75, 0.25], [0.75, 1, 0.25], [0.25, 0.25, 1]]


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 200), st.integers(1, 256), st.integers(0, 2**32))
@example(1, 1, 1, 1, 0)
@example(2, 3, 64, 256, 0)
@example(3, 1, 65, 129, 0)
def test_agreement_is_that_of_bytes(models, planes, points, classes, seed):
    """Models that differ in a tenth of their labels, with as many classes as a byte holds."""
    generator = np.random.default_rng(seed)
    own = generator.integers(0, classes, (models, planes, points), dtype=np.uint8)
    labels = np.where(generator.random(own.shape) < 0.1, own, own[:1])
    labels[..., 0] = classes - 1
    assert np.array_equal(agreement(labels), byte_by_byte(labels))


@given(st.integers(1, 3000), st.integers(1, 9))
def test_blocks_do_not_matter(size, planes):
    labels = np.random.default_rng(size).integers(0, 5, (3, planes, 70), dtype=np.uint8)
    expected = byte_by_byte(labels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(same_labels, "BLOCK_BYTES", size)
        blocks = list(agreement_blocks(labels))
    assert np.array_equal(np.concatenate([values for _, values in blocks]), expected)
    assert [index for some, _ in blocks for index in range(planes)[some]] == list(range(planes))
    assert len(blocks) == -(-planes // max(1, size // (3 * 2 * 8)))


def test_labels_are_left_as_they_are():
    labels = np.random.default_rng(0).integers(0, 9, (3, 2, 50), dtype=np.uint8)
    before = labels.copy()
    agreement(labels)
    assert np.array_equal(labels, before)
