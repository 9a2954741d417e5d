"""The table `groups`: one row a group and plane set, every score with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..scores.group_scores import SCORES, Observed, group_intervals
from ..scores.groups import Group
from ..scores.plane_scores import PlaneScores
from ..statistics.estimates import Estimate
from .files import NAN, covers_text, ends, value_and_ends


def groups_table(
    groups: Sequence[Group], estimates: Mapping[Group, Mapping[str, Estimate]], observed: Observed, planes: PlaneScores
) -> pd.DataFrame:
    """One row a group, from its estimates.

    `n_constant` counts the trainings that predict one class for every test image; `margin_found` is the share of
    directions in which a boundary was found (see `dbviz_ray.analysis.tables.margins`).
    """
    predictions, margins = observed.predictions, observed.margins
    rows = []
    for group in groups:
        intervals = group_intervals(estimates[group])
        row: dict[str, Any] = {**group.key, "n_models": len(group.members)}
        row |= {score: value_and_ends(score, intervals.get(score))[score] for score in SCORES}
        for score in SCORES:
            row |= ends(score, intervals.get(score))
        of_members = predictions.on_test[group.members]
        row |= {
            "n_planes": planes.planes,
            "n_train_images": predictions.train_wrong.shape[1],
            "n_test_images": predictions.test_wrong.shape[1],
            "n_margin_images": 0 if margins is None else margins.distances.shape[1],
            "margin_found": NAN if margins is None else margins.found[group.members].mean(),
            "n_constant": int(np.count_nonzero((of_members == of_members[:, :1]).all(axis=1))),
            "reproducibility_interval_covers": covers_text(intervals.get("reproducibility")),
        }
        rows.append(row)
    return pd.DataFrame(rows)
