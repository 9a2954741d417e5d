"""Every score of a group as an estimate, from what its trainings predict."""

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
from .image_pairs import agreement_on_images
from .margin_scores import margin_estimates
from .pair_means import PairMeans, PairSet, pairs_within
from .plane_scores import PlaneScores
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
"""What is told of a group, and the smallest and largest possible value.

- train_error, test_error: share of images whose prediction is not the given label.
- reproducibility: share of the planes' points on which two trainings agree.
- kappa: the same corrected for chance (Cohen), from the classes' shares of all planes.
- soft_agreement: the same for classes drawn from the predicted probabilities; where a sweep stores them.
- agreement_on_test_images: share of test images on which two trainings agree; agreement_beyond_accuracy: the same
  beyond what two independent models of their accuracies agree on (`scores.agreement.error_consistency`).
- fragmentation: regions a plane; large_regions: those of at least `minimum_region_share`; largest_region: the share of
  the plane's points that the largest holds.
- margin: distance to the decision boundary, mean over directions and images; margin_median: median over images;
  margin_correct, margin_mislabelled: mean over images with correct, and with falsified, labels.
- sharpness: of the minimum, see `dbviz_ray.training.losses`.
"""

MAX_SINGLY = 64
"""Members of a group up to which every pair is followed on every plane. With more, what models and planes do together
is counted twice, which then hardly widens an interval."""


@dataclass(frozen=True)
class Observed:
    """What is known, without planes, of the models that are compared with one another; they are, in one order, every
    array's first axis."""

    predictions: Predictions
    sharpness: Floats
    """`[models]`, NaN where it is not known."""
    margins: Margins | None


def within(group: Group) -> tuple[str, Any]:
    """Key of the set of pairs of independent trainings of a group (see `dbviz_ray.analysis.scores.plane_scores`)."""
    return ("within", tuple(group.key.values()))


def independent_pairs(group: Group) -> PairSet:
    """The pairs of a group that its reproducibility is about: independent trainings."""
    return pairs_within(group.members, group.independent, singly=len(group.members) <= MAX_SINGLY)


def image_estimates(group: Group, models: Observed, classes: int) -> dict[str, Estimate]:
    """The scores of a group that no plane has a part in; `classes` is how many there are."""
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
    """All that is known of a group, in the order of `SCORES`."""
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
    """Cohen's kappa of the group's pairs, a mean over those for which it is defined."""
    by_pair = cohens_kappa(_square(group, means), shares)
    each = _each_on_planes(group, means)
    if each is None:  # so many trainings that the influence of a plane is taken from their mean
        mean_shares = shares.mean(axis=0, keepdims=True)
        by_plane = kappa_by_item(means.on_planes(within(group))[:, None, None], mean_shares)[:, 0, 0]
        return pair_estimate(by_pair, by_plane, group.independent, group.levels)
    on_planes = kappa_by_item(each, shares)
    counted = np.triu(group.independent & np.isfinite(by_pair), 1)
    by_plane = on_planes[:, counted].mean(axis=1) if counted.any() else np.full(len(on_planes), np.nan)
    return pair_estimate(by_pair, by_plane, group.independent, group.levels, on_planes)


def _square(group: Group, means: PairMeans) -> Floats:
    """Of the group's members, mean over planes: `[members, members]`."""
    return means.by_pair[np.ix_(group.members, group.members)]


def _each_on_planes(group: Group, means: PairMeans) -> Floats | None:
    """The group's independent pairs on every plane, `[planes, members, members]`, ones elsewhere; None if too many."""
    if len(group.members) > MAX_SINGLY:
        return None
    values = means.each_on_planes(within(group))
    square = np.ones((len(values), *group.independent.shape))
    first, second = np.nonzero(np.triu(group.independent, 1))
    square[:, first, second] = square[:, second, first] = values
    return square


def group_intervals(estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
    """Each score's interval, within what is possible."""
    return {name: interval_of(estimate, SCORES[name]) for name, estimate in estimates.items()}
