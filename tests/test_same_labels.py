from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from skimage.measure import label as skimage_label

from analysis.same_labels import agreement

label_stacks = npst.arrays(
    np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3)
)


def test_agreement_by_hand():
    labels = np.array([[[0, 1, 2, 3]], [[0, 1, 2, 0]], [[1, 1, 1, 1]]], dtype=np.uint8)
    shares = agreement(labels)
    assert shares.shape == (1, 3, 3)
    assert shares[0].tolist() == [[1, 0.75, 0.25], [0.75, 1, 0.25], [0.25, 0.25, 1]]


@given(npst.arrays(np.uint8, (4, 3, 11), elements=st.integers(0, 2)))
def test_agreement_equals_the_definition(labels):
    shares = agreement(labels)
    for a, b in itertools.product(range(4), repeat=2):
        for plane in range(3):
            equal = sum(int(x == y) for x, y in zip(labels[a, plane], labels[b, plane], strict=True))
            assert shares[plane, a, b] == equal / 11


def test_regions_by_hand():
    maps = np.array(
        [
            [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
            [[1, 0, 0], [0, 1, 0], [0, 0, 1]],  # a diagonal is joined, and what it parts is joined across it
            [[1, 0, 2], [1, 0, 2], [1, 0, 1]],
            [[0, 1, 0], [1, 0, 1], [0, 1, 0]],  # both classes are joined through corners
            [[0, 1, 2], [3, 4, 5], [6, 7, 255]],
        ],
        dtype=np.uint8,
    )
    assert region_counts(maps).tolist() == [1, 2, 4, 2, 9]


@settings(max_examples=200)
@given(label_stacks)
def test_regions_equal_class_by_class_labelling(maps):
    naive = [sum(skimage_label(m == c, connectivity=2).max() for c in np.unique(m)) for m in maps]
    assert region_counts(maps).tolist() == naive


@given(label_stacks)
def test_regions_do_not_depend_on_the_neighbours_in_the_stack(maps):
    assert region_counts(maps).tolist() == [region_counts(m[None])[0] for m in maps]


def test_regions_of_smooth_maps_of_the_usual_size():
    generator = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 2, 50)] * 2), -1).reshape(-1, 2)
    hidden = np.maximum(grid @ generator.normal(size=(20, 2, 24)) + generator.normal(size=(20, 1, 24)), 0)
    maps = (hidden @ generator.normal(size=(20, 24, 10))).argmax(-1).astype(np.uint8).reshape(-1, 50, 50)
    naive = [sum(skimage_label(m == c, connectivity=2).max() for c in np.unique(m)) for m in maps]
    assert region_counts(maps).tolist() == naive
    assert max(naive) > 3
