"""The table `uncertainty`: what the interval of each group's score is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..scores.group_scores import SCORES
from ..scores.groups import GROUP, Group, records
from ..statistics.estimates import Estimate
from ..statistics.intervals import Interval, Variances, interval_of, variances_of

UNCERTAINTY = [
    *GROUP, "score", "value", "low", "high", "n_models", "n_items", "interval_covers",
    "items_variance", "items_freedom", "models_variances", "models_freedoms", "shared_variance", "shared_freedom",
]  # fmt: skip


def uncertainty_table(groups: Sequence[Group], estimates: Mapping[Group, Mapping[str, Estimate]]) -> pd.DataFrame:
    """One row a group and score: its interval, and the variances (with degrees of freedom) that it comes from.

    `models_variances` has one value for each random stream that varies independently and, of several, a last one for
    what they do together; see `dbviz_ray.analysis.statistics.intervals`.
    """
    rows: list[dict[str, Any]] = []
    for group in groups:
        for score, estimate in estimates[group].items():
            interval, variances = interval_of(estimate, SCORES[score]), variances_of(estimate)
            rows.append(
                {
                    **group.key,
                    "score": score,
                    "value": interval.value,
                    "low": interval.low,
                    "high": interval.high,
                    "n_models": interval.models,
                    "n_items": interval.items,
                    "interval_covers": interval.covers,
                    "items_variance": variances.items[0],
                    "items_freedom": variances.items[1],
                    "models_variances": [variance for variance, _ in variances.models],
                    "models_freedoms": [float(freedom) for _, freedom in variances.models],
                    "shared_variance": variances.shared[0],
                    "shared_freedom": variances.shared[1],
                }
            )
    return pd.DataFrame(rows, columns=UNCERTAINTY)


def uncertain_scores(table: pd.DataFrame) -> list[tuple[dict[str, Any], Interval, Variances]]:
    """The rows of the table: what names each, its interval, and the variances that it comes from."""
    return [
        (
            row,
            Interval(row["value"], row["low"], row["high"], row["n_models"], row["n_items"], row["interval_covers"]),
            Variances(
                (row["items_variance"], row["items_freedom"]),
                tuple(zip(row["models_variances"], row["models_freedoms"], strict=True)),
                (row["shared_variance"], row["shared_freedom"]),
            ),
        )
        for row in records(table)
    ]
