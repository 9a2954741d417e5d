from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

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
