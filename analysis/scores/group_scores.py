"""Every score of a group as an estimate, from the predictions of its trainings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..statistics.estimates import Estimate, mean_estimate, pair_estimate, sample_estimate
from ..statistics.intervals import Interval, interval_of
from .agreement import cohens_kappa, kappa_by_item
from .groups import Group
from .image_scores import agreement_on_images, margin_estimates
from .plane_scores import PairMeans, PairSet, PlaneScores, pairs_within
from .trained import Margins, Predictions

Floats = NDArray[np.float64]
Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)
AT_LEAST_ZERO: Bounds = (0.0, math.inf)

SCORES: dict[str, Bounds] = {
    "train_error": SHARE,
    "test_error": SHARE,
    "reproducibility": SHARE,
    "kappa": (-1.0, 1.0),
    "soft_agreement": SHARE,
    "agreement_on_test_images": SHARE,
    "agreement_beyond_accuracy": (-math.inf, 1.0),
    "fragmentation": (1.0, math.inf),
    "large_regions": AT_LEAST_ZERO,
    "largest_region": SHARE,
    "margin": AT_LEAST_ZERO,
    "margin_median": AT_LEAST_ZERO,
    "margin_correct": AT_LEAST_ZERO,
    "margin_mislabelled": AT_LEAST_ZERO,
    "sharpness": AT_LEAST_ZERO,
}
"""The scores of a group, with the smallest and largest possible value. A new score needs an entry here and an estimate
in `image_estimates` or `plane_estimates`; tables, intervals, differences and advice follow.

- train_error, test_error: share of images whose prediction is not the given label.
- reproducibility: share of the planes' points on which two trainings agree.
- kappa: the same corrected for chance (Cohen), from the classes' shares of all planes.
- soft_agreement: the same for classes drawn from the predicted probabilities; where a sweep stores them.
- agreement_on_test_images: share of test images on which two trainings agree; agreement_beyond_accuracy: the same
  beyond what two independent models of their accuracies agree on (`scores.agreement.error_consistency`).
- fragmentation: regions in a plane; large_regions: those with at least `minimum_region_share` of the points;
  largest_region: the largest one's share of the points.
- margin: distance to the decision boundary, mean over directions and images; margin_median: median over images;
  margin_correct, margin_mislabelled: mean over images with correct, and with wrong, labels.
- sharpness: of the minimum, see `dbviz_ray.training.losses`.
"""

MAX_SINGLY = 64
"""Groups with more members do not follow every pair on every plane. The interaction of models and planes is then
counted twice, which hardly widens an interval."""


@dataclass(frozen=True)
class Observed:
    """What is known about models apart from planes; the first axis of every array is the models."""

    predictions: Predictions
    sharpness: Floats
    """`[models]`, NaN if unknown."""
    margins: Margins | None


def within(group: Group) -> tuple[str, Any]:
    """Key of the set of pairs of independent trainings of a group (see `dbviz_ray.analysis.scores.plane_scores`)."""
    return ("within", tuple(group.key.values()))


def independent_pairs(group: Group) -> PairSet:
    """The pairs of independent trainings of a group, over which its reproducibility is the mean."""
    return pairs_within(group.members, group.independent, singly=len(group.members) <= MAX_SINGLY)


def image_estimates(group: Group, models: Observed, classes: int) -> dict[str, Estimate]:
    """The scores of a group on images; `classes` is the number of classes."""
    members, levels, predictions = group.members, group.levels, models.predictions
    found = {
        "train_error": mean_estimate(predictions.train_wrong[members].astype(float), levels),
        "test_error": mean_estimate(predictions.test_wrong[members].astype(float), levels),
    }
    if np.isfinite(models.sharpness[members]).any():
        found["sharpness"] = sample_estimate(models.sharpness[members], levels)
    if len(members) > 1:
        found |= agreement_on_images(group, predictions, classes)
    if models.margins is not None:
        found |= margin_estimates(group, models.margins)
    return found


def plane_estimates(group: Group, planes: PlaneScores) -> dict[str, Estimate]:
    """The scores of a group on the planes of one set."""
    found = {name: mean_estimate(values[group.members], group.levels) for name, values in planes.regions.items()}
    return found | _pair_scores(group, planes) if len(group.members) > 1 else found


def group_estimates(of_images: Mapping[str, Estimate], of_planes: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """All estimates of a group, in the order of `SCORES`."""
    found = {**of_images, **of_planes}
    return {name: found[name] for name in SCORES if name in found}


def _pair_scores(group: Group, planes: PlaneScores) -> dict[str, Estimate]:
    found: dict[str, Estimate] = {}
    if planes.same_points is not None:
        found["reproducibility"] = _of_pairs(group, planes.same_points)
        found["kappa"] = _kappa(group, planes.same_points, planes.class_shares[group.members].astype(float))
    if planes.soft_agreement is not None:
        found["soft_agreement"] = _of_pairs(group, planes.soft_agreement)
    return found


def _of_pairs(group: Group, means: PairMeans) -> Estimate:
    by_pair, on_planes = _square(group, means), means.on_planes(within(group))
    return pair_estimate(by_pair, on_planes, group.independent, group.levels, _each_on_planes(group, means))


def _kappa(group: Group, means: PairMeans, shares: Floats) -> Estimate:
    """Cohen's kappa, the mean over the group's pairs for which it is defined."""
    by_pair = cohens_kappa(_square(group, means), shares)
    each = _each_on_planes(group, means)
    if each is None:  # with many trainings, a plane's influence comes from their mean
        mean_shares = shares.mean(axis=0, keepdims=True)
        by_plane = kappa_by_item(means.on_planes(within(group))[:, None, None], mean_shares)[:, 0, 0]
        return pair_estimate(by_pair, by_plane, group.independent, group.levels)
    on_planes = kappa_by_item(each, shares)
    counted = np.triu(group.independent & np.isfinite(by_pair), 1)
    by_plane = on_planes[:, counted].mean(axis=1) if counted.any() else np.full(len(on_planes), np.nan)
    return pair_estimate(by_pair, by_plane, group.independent, group.levels, on_planes)


def _square(group: Group, means: PairMeans) -> Floats:
    """The means over planes of the group's pairs: `[members, members]`."""
    return means.by_pair[np.ix_(group.members, group.members)]


def _each_on_planes(group: Group, means: PairMeans) -> Floats | None:
    """The group's independent pairs on every plane, `[planes, members, members]`, else ones; None if too many."""
    if len(group.members) > MAX_SINGLY:
        return None
    values = means.each_on_planes(within(group))
    square = np.ones((len(values), *group.independent.shape))
    first, second = np.nonzero(np.triu(group.independent, 1))
    square[:, first, second] = square[:, second, first] = values
    return square


def group_intervals(estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
    """The interval of each score, within its bounds."""
    return {name: interval_of(estimate, SCORES[name]) for name, estimate in estimates.items()}
