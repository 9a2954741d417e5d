"""How far the trainings of a group agree on the test images themselves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..statistics.estimates import Estimate, pair_estimate
from .agreement import error_consistency, error_consistency_by_item
from .groups import Group
from .trained import Predictions

Floats = NDArray[np.float64]
MAX_SINGLY = 16
"""Members of a group up to which every pair is followed on every image. With more, what models and images do together
is counted twice, which then hardly widens an interval."""


def agreement_on_images(group: Group, predictions: Predictions, classes: int) -> dict[str, Estimate]:
    """Agreement of independent trainings of the group on the test images, and what of it is beyond their accuracy."""
    members, independent = group.members, group.independent
    beyond = error_consistency(predictions.on_test[members], predictions.test_wrong[members], classes)
    singly = len(members) <= MAX_SINGLY
    same = _OnImages(len(members), predictions.on_test.shape[1], singly)
    consistent = _OnImages(len(members), predictions.on_test.shape[1], singly)
    for a, b in np.argwhere(np.triu(independent, 1)):
        pair = members[[a, b]]
        predicted = predictions.on_test[pair]
        same.add(a, b, (predicted[0] == predicted[1]).astype(float))
        if np.isfinite(beyond[a, b]):
            by_image = error_consistency_by_item(predicted, predictions.test_wrong[pair], classes)[:, 0, 1]
            consistent.add(a, b, by_image)
    return {
        "agreement_on_test_images": same.estimate(group, independent),
        "agreement_beyond_accuracy": consistent.estimate(group, independent & np.isfinite(beyond)),
    }


class _OnImages:
    """A score of pairs of a group on every image, collected pair by pair."""

    def __init__(self, members: int, images: int, singly: bool) -> None:
        self._by_pair = np.eye(members)
        self._sum, self._pairs = np.zeros(images), 0
        self._each = np.ones((images, members, members)) if singly else None

    def add(self, a: int, b: int, on_images: Floats) -> None:
        self._by_pair[a, b] = self._by_pair[b, a] = on_images.mean()
        self._sum += on_images
        self._pairs += 1
        if self._each is not None:
            self._each[:, a, b] = self._each[:, b, a] = on_images

    def estimate(self, group: Group, used: NDArray[np.bool_]) -> Estimate:
        by_image = self._sum / max(self._pairs, 1)
        return pair_estimate(self._by_pair, by_image, used, group.levels, self._each)
