"""Margins of a group: of all images, and of those with correct and with falsified labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..statistics.estimates import Estimate, mean_estimate, quantile_estimate, sample_estimate
from .groups import Group
from .trained import Margins

Floats = NDArray[np.float64]
MEAN, MEDIAN = "mean", "median"
QUANTILES = {"q10": 0.1, "q25": 0.25, MEDIAN: 0.5, "q75": 0.75, "q90": 0.9}
STATISTICS = (MEAN, *QUANTILES)
ALL, CORRECT, MISLABELLED = "all", "correct", "mislabelled"


def kinds_of_images(group: Group, margins: Margins) -> dict[str, NDArray[np.bool_]]:
    """Which images are meant, `[members, images]`: all; correct and mislabelled ones where there are two of each."""
    mislabelled = margins.mislabelled[group.members]
    kinds = {ALL: np.ones_like(mislabelled)}
    if mislabelled.any():
        kinds |= {CORRECT: ~mislabelled, MISLABELLED: mislabelled}
    return {name: wanted for name, wanted in kinds.items() if wanted.sum(axis=1).min() > 1}


def margin_estimates(group: Group, margins: Margins) -> dict[str, Estimate]:
    """The margins that are among a group's scores; without mislabelled images all are correctly labelled ones."""
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
    """One of `STATISTICS` of the wanted images' margins; both arrays `[members, images]`.

    Where trainings differ in which images are wanted, these are no common sample: one number a training counts.
    """
    if (wanted == wanted[0]).all():
        same = distances[:, wanted[0]]
        if statistic == MEAN:
            return mean_estimate(same, group.levels)
        return quantile_estimate(same, QUANTILES[statistic], group.levels)
    each = (row[kept] for row, kept in zip(distances, wanted, strict=True))
    of_models = [of.mean() if statistic == MEAN else np.quantile(of, QUANTILES[statistic]) for of in each]
    return sample_estimate(np.array(of_models), group.levels)
