"""The table `margins`: how far images are from the decision boundary, and how that is distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.groups import GROUP, Group
from analysis.scores.group_scores import AT_LEAST_ZERO
from analysis.scores.trained import Margins
from analysis.statistics.estimates import mean_estimate, quantile_estimate, sample_estimate
from analysis.statistics.intervals import Interval, interval_of
from analysis.tables.cells import value_and_ends

QUANTILES = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}
STATISTICS = ("mean", *QUANTILES)
MARGINS = [*GROUP, "images", *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")), "found",
           "n_models", "n_images"]  # fmt: skip


def margins_table(groups: Sequence[Group], margins: Margins | None) -> pd.DataFrame:
    """One row a group and kind of images: all, those with correct and those with falsified labels.

    An image's margin is the mean over directions of the distance (L2, normalised pixels) to the first change of class;
    where none was found, of how far was looked. `found` is the share of directions with a change: where it is far from
    1, the upper quantiles and the mean are too small.
    """
    if margins is None:
        return pd.DataFrame(columns=MARGINS)
    rows = []
    for group in groups:
        distances, mislabelled = margins.mean_distance[group.members], margins.mislabelled[group.members]
        found = margins.found[group.members].mean(axis=2)
        kinds = {"all": np.ones_like(mislabelled), "correct": ~mislabelled, "mislabelled": mislabelled}
        for images, wanted in kinds.items():
            if wanted.sum(axis=1).min() < 2 or (images == "correct" and not mislabelled.any()):
                continue
            row: dict[str, Any] = {**group.key, "images": images}
            for name in STATISTICS:
                row |= value_and_ends(name, _interval(name, distances, wanted, group))
            counts = {"n_models": len(group.members), "n_images": int(wanted.sum(axis=1).min())}
            rows.append(row | {"found": found[wanted].mean()} | counts)
    return pd.DataFrame(rows, columns=MARGINS)


def _interval(name: str, values: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], group: Group) -> Interval:
    """Of a statistic of the wanted images; over trainings alone where these are not the same images in all of them."""
    if (wanted == wanted[0]).all():
        same = values[:, wanted[0]]
        if name == "mean":
            return interval_of(mean_estimate(same, group.levels), AT_LEAST_ZERO)
        return interval_of(quantile_estimate(same, QUANTILES[name], group.levels), AT_LEAST_ZERO)
    each = (row[kept] for row, kept in zip(values, wanted, strict=True))
    of_models = [of.mean() if name == "mean" else np.quantile(of, QUANTILES[name]) for of in each]
    return interval_of(sample_estimate(np.array(of_models), group.levels), AT_LEAST_ZERO)
