"""The table `margins`: how far images are from the decision boundary, and how that is distributed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ..scores.group_scores import AT_LEAST_ZERO
from ..scores.groups import GROUP, Group
from ..scores.margin_scores import STATISTICS, kinds_of_images, margin_estimate
from ..scores.trained import Margins
from ..statistics.intervals import interval_of
from .files import value_and_ends

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
        distances, found = margins.mean_distance[group.members], margins.found[group.members].mean(axis=2)
        for images, wanted in kinds_of_images(group, margins).items():
            row: dict[str, Any] = {**group.key, "images": images}
            for name in STATISTICS:
                interval = interval_of(margin_estimate(name, distances, wanted, group), AT_LEAST_ZERO)
                row |= value_and_ends(name, interval)
            counts = {"n_models": len(group.members), "n_images": int(wanted.sum(axis=1).min())}
            rows.append(row | {"found": found[wanted].mean()} | counts)
    return pd.DataFrame(rows, columns=MARGINS)
