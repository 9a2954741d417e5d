"""Scores of a group on images: agreement on the test images, and margins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..statistics.estimates import Estimate, mean_estimate, pair_estimate, quantile_estimate, sample_estimate
from .agreement import error_consistency, error_consistency_by_item
from .groups import Group
from .trained import Margins, Predictions

Floats = NDArray[np.float64]
MAX_SINGLY = 16
"""Groups with more members do not follow every pair on every image. The interaction of models and images is then
counted twice, which hardly widens an interval."""


def agreement_on_images(group: Group, predictions: Predictions, classes: int) -> dict[str, Estimate]:
    """Agreement of independent trainings of the group on the test images, raw and beyond their accuracy."""
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


MEAN, MEDIAN = "mean", "median"
QUANTILES = {"q10": 0.1, "q25": 0.25, MEDIAN: 0.5, "q75": 0.75, "q90": 0.9}
STATISTICS = (MEAN, *QUANTILES)
ALL, CORRECT, MISLABELLED = "all", "correct", "mislabelled"


def kinds_of_images(group: Group, margins: Margins) -> dict[str, NDArray[np.bool_]]:
    """Masks `[members, images]`: all images; if there are at least two of each, also correct and mislabelled ones."""
    mislabelled = margins.mislabelled[group.members]
    kinds = {ALL: np.ones_like(mislabelled)}
    if mislabelled.any():
        kinds |= {CORRECT: ~mislabelled, MISLABELLED: mislabelled}
    return {name: wanted for name, wanted in kinds.items() if wanted.sum(axis=1).min() > 1}


def margin_estimates(group: Group, margins: Margins) -> dict[str, Estimate]:
    """The margins among a group's scores; without mislabelled images, all count as correctly labelled."""
    distances, kinds = margins.mean_distance[group.members], kinds_of_images(group, margins)
    found = {
        "margin": margin_estimate(MEAN, distances, kinds[ALL], group),
        "margin_median": margin_estimate(MEDIAN, distances, kinds[ALL], group),
        "margin_correct": margin_estimate(MEAN, distances, kinds.get(CORRECT, kinds[ALL]), group),
    }
    if MISLABELLED in kinds:
        found["margin_mislabelled"] = margin_estimate(MEAN, distances, kinds[MISLABELLED], group)
    return found


def margin_estimate(statistic: str, distances: Floats, wanted: NDArray[np.bool_], group: Group) -> Estimate:
    """One of `STATISTICS` of the wanted images' margins; both arrays are `[members, images]`.

    If trainings differ in the wanted images, the images are no common sample: each training counts as one number.
    """
    if (wanted == wanted[0]).all():
        same = distances[:, wanted[0]]
        if statistic == MEAN:
            return mean_estimate(same, group.levels)
        return quantile_estimate(same, QUANTILES[statistic], group.levels)
    each = (row[kept] for row, kept in zip(distances, wanted, strict=True))
    of_models = [of.mean() if statistic == MEAN else np.quantile(of, QUANTILES[statistic]) for of in each]
    return sample_estimate(np.array(of_models), group.levels)
