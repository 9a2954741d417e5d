"""The table `by_class`: where regions lie, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..scores.group_scores import SCORES, SHARE
from ..scores.groups import GROUP, Group
from ..scores.plane_scores import PlaneScores
from ..scores.trained import PlaneFacts
from ..statistics.estimates import mean_estimate
from ..statistics.intervals import interval_of
from .files import value_and_ends

COLUMNS = ("regions", "area", "fragmentation_of_planes")
BY_CLASS = [*GROUP, "class", *(f"{column}{end}" for column in COLUMNS for end in ("", "_low", "_high")), "n_models",
            "n_planes", "n_planes_of_class"]  # fmt: skip


def by_class_table(groups: Sequence[Group], scores: PlaneScores, about: PlaneFacts) -> pd.DataFrame:
    """One row a group and class.

    regions: regions of the class a plane; area: its share of the planes' points; fragmentation_of_planes: regions of
    whatever class on the planes whose three images are all of this class, where there are at least two such.
    """
    if not scores.regions:
        return pd.DataFrame(columns=BY_CLASS)
    rows = []
    for group in groups:
        for number, name in enumerate(about.class_names):
            regions = scores.regions_by_class[group.members, :, number].astype(float)
            area = scores.class_shares[group.members, :, number].astype(float)
            own = (about.anchor_labels == number).all(axis=1)
            row: dict[str, Any] = {**group.key, "class": name}
            row |= value_and_ends("regions", interval_of(mean_estimate(regions, group.levels), (0.0, np.inf)))
            row |= value_and_ends("area", interval_of(mean_estimate(area, group.levels), SHARE))
            within = scores.regions["fragmentation"][np.ix_(group.members, own.nonzero()[0])]
            known = own.sum() > 1
            interval = interval_of(mean_estimate(within, group.levels), SCORES["fragmentation"]) if known else None
            row |= value_and_ends("fragmentation_of_planes", interval)
            counts = {"n_models": len(group.members), "n_planes": scores.planes, "n_planes_of_class": int(own.sum())}
            rows.append(row | counts)
    return pd.DataFrame(rows, columns=BY_CLASS)
