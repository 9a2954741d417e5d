"""The table `margins`: the distribution of the distances from images to the decision boundary."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..scores.group_scores import AT_LEAST_ZERO
from ..scores.groups import GROUP
from ..scores.image_scores import STATISTICS, kinds_of_images, margin_estimate
from ..statistics.intervals import interval_of
from .files import value_and_ends
from .scored import Scored

MARGINS = [*GROUP, "images", *(f"{name}{end}" for name in STATISTICS for end in ("", "_low", "_high")), "found",
           "n_models", "n_images"]  # fmt: skip


def margins_table(scored: Scored) -> pd.DataFrame:
    """One row for each group and kind of images: all, those with correct labels, those with wrong ones.

    An image's margin is the mean over directions of the distance (L2, normalised pixels) to the first change of class,
    or of the searched distance if there is none. `found` is the share of directions with a change: if it is far from 1,
    the mean and the upper quantiles are too small.
    """
    margins = scored.observed.margins
    if margins is None:
        return pd.DataFrame(columns=MARGINS)
    rows = []
    for group in scored.groups:
        distances, found = margins.mean_distance[group.members], margins.found[group.members].mean(axis=2)
        for images, wanted in kinds_of_images(group, margins).items():
            row: dict[str, Any] = {**group.key, "images": images}
            for name in STATISTICS:
                interval = interval_of(margin_estimate(name, distances, wanted, group), AT_LEAST_ZERO)
                row |= value_and_ends(name, interval)
            counts = {"n_models": len(group.members), "n_images": int(wanted.sum(axis=1).min())}
            rows.append(row | {"found": found[wanted].mean()} | counts)
    return pd.DataFrame(rows, columns=MARGINS)
