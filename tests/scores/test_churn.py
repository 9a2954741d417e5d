from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray.analysis.scores.agreement import churn_between, share_of_images


def test_by_hand():
    labels = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    old = np.array([0, 0, 1, 1, 0, 2, 2, 1])
    new = np.array([0, 1, 0, 1, 1, 0, 2, 1])
    found = churn_between(old, new, labels)
    assert found.churn.value == 4 / 8, "images 1, 2, 4 and 5"
    assert found.wins.value == 2 / 8, "images 2 and 4"
    assert found.losses.value == 1 / 8, "image 1; image 5 goes from one error to another"
    assert found.p_value == 1.0


@pytest.mark.parametrize(
    ("wins", "losses", "p_value"), [(8, 2, 0.109375), (2, 8, 0.109375), (10, 0, 2 / 1024), (0, 0, 1)]
)
def test_exact_mcnemar_test(wins, losses, p_value):
    """Twice the smaller tail of Binomial(wins + losses, 1/2)."""
    labels = np.zeros(100, np.int64)
    old, new = np.zeros(100, np.int64), np.zeros(100, np.int64)
    old[:wins] = 1
    new[wins : wins + losses] = 1
    assert churn_between(old, new, labels).p_value == pytest.approx(p_value)


def test_the_interval_of_a_share_that_is_zero_is_not_empty():
    interval = share_of_images(0, 200)
    assert (interval.value, interval.low) == (0, 0)
    assert interval.high == pytest.approx(1 - 0.025 ** (1 / 200))
    assert share_of_images(200, 200).low == pytest.approx(0.025 ** (1 / 200))


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30))
def test_the_churn_is_wins_losses_and_what_stays_wrong(images):
    old, new, labels = np.array(images).T
    found, back = churn_between(old, new, labels), churn_between(new, old, labels)
    stays_wrong = np.mean([a != b and a != label and b != label for a, b, label in images])
    assert found.churn.value == pytest.approx(found.wins.value + found.losses.value + stays_wrong)
    assert (found.wins, found.losses, found.p_value) == (back.losses, back.wins, back.p_value)
    assert found.wins.value - found.losses.value == pytest.approx(np.mean(new == labels) - np.mean(old == labels))
    for share in (found.churn, found.wins, found.losses):
        assert 0 <= share.low <= share.value <= share.high <= 1
