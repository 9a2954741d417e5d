"""Every score of a group as an estimate: from predictions, label maps and margins of its trainings."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..statistics.estimates import Estimate, mean_estimate, pair_estimate, quantile_estimate, sample_estimate
from ..statistics.pseudo_values import Numbers
from .agreement import capa, capa_by_item, cohens_kappa, kappa_by_item, mean_by_item
from .groups import Group
from .pair_means import Floats, PairMeans
from .plane_scores import PlaneScores
from .trained import Margins, Predictions

Bounds = tuple[float, float]
SHARE: Bounds = (0.0, 1.0)
AT_LEAST_ZERO: Bounds = (0.0, math.inf)

SCORES: dict[str, Bounds] = {
    "train_error": SHARE,
    "false_labels_learned": SHARE,
    "test_error": SHARE,
    "reproducibility": SHARE,
    "kappa": (-1.0, 1.0),
    "soft_agreement": SHARE,
    "agreement_on_test_images": SHARE,
    "capa": (-math.inf, 1.0),
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
in `image_estimates` or `plane_estimates`; tables, intervals and differences follow. docs/tables.md explains each as
a column of `groups`."""

MAX_SINGLY_ON_IMAGES = 16
"""As MAX_SINGLY_ON_PLANES, but on images."""


@dataclass(frozen=True)
class Observed:
    """What is known about models apart from planes; the first axis of every array is the models."""

    predictions: Predictions
    sharpness: Floats
    """`[models]`, NaN if unknown."""
    margins: Margins | None


def image_estimates(group: Group, models: Observed, classes: int) -> dict[str, Estimate]:
    """The scores of a group on images; `classes` is the number of classes."""
    members, levels, predictions = group.members, group.levels, models.predictions
    wrong = predictions.train_wrong[members]
    found = {
        "train_error": of_chosen_images(MEAN, wrong, predictions.trained_on[members], group),
        "test_error": mean_estimate(predictions.test_wrong[members], levels),
    }
    false = predictions.false_labels[members]
    if false.sum(axis=1).min() > 1:
        found["false_labels_learned"] = of_chosen_images(MEAN, ~wrong, false, group)
    if np.isfinite(models.sharpness[members]).any():
        found["sharpness"] = sample_estimate(models.sharpness[members], levels)
    if len(members) > 1:
        found |= _agreement_on_images(group, predictions, classes)
    if models.margins is not None:
        found |= _margin_estimates(group, models.margins)
    return found


def plane_estimates(group: Group, planes: PlaneScores) -> dict[str, Estimate]:
    """The scores of a group on the planes of one set."""
    found = {name: mean_estimate(values[group.members], group.levels) for name, values in planes.regions.items()}
    if len(group.members) > 1 and planes.same_points is not None:
        found["reproducibility"] = _mean_over_pairs(group, planes.same_points)
        found["kappa"] = _kappa(group, planes.same_points, planes.class_shares[group.members])
        if planes.soft_agreement is not None:
            found["soft_agreement"] = _mean_over_pairs(group, planes.soft_agreement)
    return found


def _mean_over_pairs(group: Group, means: PairMeans) -> Estimate:
    by_plane, each = means.on_planes(group.independent_pairs), _each_on_planes(group, means)
    return pair_estimate(means.within(group.members), by_plane, group.independent, group.levels, each)


def _kappa(group: Group, means: PairMeans, shares: NDArray[np.float32]) -> Estimate:
    """Cohen's kappa, the mean over the group's pairs for which it is defined."""
    by_pair = cohens_kappa(means.within(group.members), shares)
    each = _each_on_planes(group, means)
    on_planes = None
    if each is None:  # with many trainings, a plane's influence comes from their mean
        mean_shares = shares.mean(axis=0, keepdims=True, dtype=float)
        by_plane = kappa_by_item(means.on_planes(group.independent_pairs)[:, None, None], mean_shares)[:, 0, 0]
    else:
        on_planes = kappa_by_item(each, shares.astype(float))
        counted = group.independent_pairs.mask & np.isfinite(by_pair[:])
        by_plane = on_planes[:, counted].mean(axis=1) if counted.any() else np.full(len(on_planes), np.nan)
    return pair_estimate(by_pair, by_plane, group.independent, group.levels, on_planes)


def _each_on_planes(group: Group, means: PairMeans) -> Floats | None:
    """The group's independent pairs on every plane, `[planes, members, members]`, else ones; None if too many."""
    pairs = group.independent_pairs
    if not pairs.singly:
        return None
    values, mask = means.each_on_planes(pairs), pairs.mask
    square = np.ones((len(values), *mask.shape))
    first, second = np.nonzero(mask)
    square[:, first, second] = square[:, second, first] = values
    return square


def _agreement_on_images(group: Group, predictions: Predictions, classes: int) -> dict[str, Estimate]:
    """Agreement of independent trainings of the group on the test images, raw and beyond their accuracy."""
    predicted, wrong = predictions.on_test[group.members], predictions.test_wrong[group.members]
    same, used = predictions.same_on_test.within(group.members), group.independent
    by_image, capa_by_image = mean_by_item(predicted, wrong, classes, same, used)
    alike = of_pairs = None
    if len(same) <= MAX_SINGLY_ON_IMAGES:
        alike = (predicted[:, None] == predicted).transpose(2, 0, 1).astype(float)
        of_pairs = capa_by_item(predicted, wrong, classes)
    return {
        "agreement_on_test_images": pair_estimate(same, by_image, used, group.levels, alike),
        "capa": pair_estimate(capa(same, wrong, classes), capa_by_image, used, group.levels, of_pairs),
    }


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


def _margin_estimates(group: Group, margins: Margins) -> dict[str, Estimate]:
    """The margins among a group's scores; without mislabelled images, all count as correctly labelled."""
    distances, kinds = margins.mean_distance[group.members], kinds_of_images(group, margins)
    found = {
        "margin": of_chosen_images(MEAN, distances, kinds[ALL], group),
        "margin_median": of_chosen_images(MEDIAN, distances, kinds[ALL], group),
        "margin_correct": of_chosen_images(MEAN, distances, kinds.get(CORRECT, kinds[ALL]), group),
    }
    if MISLABELLED in kinds:
        found["margin_mislabelled"] = of_chosen_images(MEAN, distances, kinds[MISLABELLED], group)
    return found


def of_chosen_images(statistic: str, values: Numbers, wanted: NDArray[np.bool_], group: Group) -> Estimate:
    """One of `STATISTICS` of the values of the wanted images; both arrays are `[members, images]`.

    If trainings differ in the wanted images, the images are no common sample: each training counts as one number.
    """
    if (wanted == wanted[0]).all():
        same = values[:, wanted[0]]
        if statistic == MEAN:
            return mean_estimate(same, group.levels)
        return quantile_estimate(np.asarray(same, float), QUANTILES[statistic], group.levels)
    each = (row[kept] for row, kept in zip(values, wanted, strict=True))
    of_models = [of.mean() if statistic == MEAN else np.quantile(of, QUANTILES[statistic]) for of in each]
    return sample_estimate(np.array(of_models), group.levels)
