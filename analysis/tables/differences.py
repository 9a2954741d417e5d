"""The table `differences`: whether two groups differ, tested on the same planes and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..scores.group_scores import SCORES
from ..scores.groups import Group
from ..scores.trained import Margins
from ..statistics.estimates import Estimate, difference
from ..statistics.intervals import holm, interval_of, p_value, ratio_interval
from .between_groups import SIDE, compared, sides
from .files import NAN, covers_text, ends

BY_LABEL = ("margin_correct", "margin_mislabelled")
"""Scores of images that are chosen by their labels: the same ones only where the same labels are falsified."""
DIFFERENCES = [
    "score", "label_noise", *(f"{column}_{side}" for side in "ab" for column in SIDE), "value_a", "value_b",
    "difference", "difference_low", "difference_high", "ratio", "ratio_low", "ratio_high",
    "p_value", "p_value_holm", "interval_covers",
]  # fmt: skip


def differences_table(
    groups: Sequence[Group], estimates: Mapping[Group, Mapping[str, Estimate]], margins: Margins | None
) -> pd.DataFrame:
    """One row a score and pair of groups of equal label noise, from their estimates.

    The difference (a - b) and the ratio (a / b, of positive scores) have intervals over the trainings of both groups
    and over the planes or images that both were seen on, pairwise. `p_value_holm` is corrected for all rows of its
    score and plane set; scores of images alone have the same rows in every plane set.
    """
    rows: list[dict[str, Any]] = []
    for a, b in compared(groups):
        of_a, of_b = estimates[a], estimates[b]
        known = [s for s in SCORES if s in of_a and s in of_b and (s not in BY_LABEL or _same_labels(a, b, margins))]
        rows += [{"score": score, **sides(a, b), **_compared(of_a[score], of_b[score])} for score in known]
    table = pd.DataFrame(rows, columns=DIFFERENCES)
    for score in table["score"].unique():
        known = table.index[(table["score"] == score) & table["p_value"].notna()]
        table.loc[known, "p_value_holm"] = holm(table.loc[known, "p_value"].to_numpy())
    return table


def _same_labels(a: Group, b: Group, margins: Margins | None) -> bool:
    """Whether the same images are mislabelled in all trainings of both groups."""
    if margins is None:
        return False
    mislabelled = margins.mislabelled[np.concatenate([a.members, b.members])]
    return bool((mislabelled == mislabelled[0]).all())


def _compared(of_a: Estimate, of_b: Estimate) -> dict[str, Any]:
    estimate = difference(of_a, of_b)
    interval = interval_of(estimate)
    ratio = ratio_interval(of_a, of_b) if min(of_a.value, of_b.value) > 0 else None
    return {
        "value_a": of_a.value,
        "value_b": of_b.value,
        "difference": interval.value,
        **ends("difference", interval),
        "ratio": ratio.value if ratio else NAN,
        **ends("ratio", ratio),
        "p_value": p_value(estimate),
        "interval_covers": covers_text(interval),
    }
