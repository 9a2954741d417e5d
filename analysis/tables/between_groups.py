"""The table `between_groups`: how far trainings of two groups agree; the paper's Figure 4."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..scores.group_scores import SHARE
from ..scores.groups import GROUP, Group
from ..scores.pair_means import PairSet, pairs_between
from ..scores.plane_scores import PlaneScores
from ..statistics.estimates import cross_pair_estimate
from ..statistics.intervals import interval_of
from .files import with_covers

MAX_GROUPS = 40
"""Groups of one label noise that are compared with one another: 780 pairs, and what one picture can show."""
MAX_SINGLY_BETWEEN = 16

SIDE = ["n_models", *(column for column in GROUP if column != "label_noise")]
BETWEEN = [
    "label_noise", *(f"{column}_{side}" for side in "ab" for column in SIDE),
    "reproducibility", "reproducibility_low", "reproducibility_high", "reproducibility_interval_covers", "n_planes",
]  # fmt: skip


def compared(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Every two groups of equal label noise; none of a label noise with more than `MAX_GROUPS` groups."""
    by_noise: dict[float, list[Group]] = {}
    for group in groups:
        by_noise.setdefault(group.key["label_noise"], []).append(group)
    for alike in by_noise.values():
        if len(alike) <= MAX_GROUPS:
            for index, group in enumerate(alike):
                for other in alike[index + 1 :]:
                    yield group, other


def sides(group: Group, other: Group) -> dict[str, Any]:
    """The columns that name two groups of equal label noise."""
    named = {
        f"{column}_{side}": of[column] for side, of in (("a", _side(group)), ("b", _side(other))) for column in SIDE
    }
    return {"label_noise": group.key["label_noise"], **named}


def between_sets(groups: Sequence[Group]) -> dict[Hashable, PairSet]:
    """The sets of pairs that the table needs."""
    return {_key(a, b): pairs_between(a.members, b.members, singly=_followed_singly(a, b)) for a, b in compared(groups)}


def between_groups_table(groups: Sequence[Group], scores: PlaneScores) -> pd.DataFrame:
    """One row a pair of groups of equal label noise, averaged over all pairs of their models.

    Pairs with the same seeds are among them: networks of one architecture then start from the same weights.
    """
    if scores.same_points is None:
        return pd.DataFrame(columns=BETWEEN)
    same, rows = scores.same_points, []
    for a, b in compared(groups):
        by_pair, on_planes = same.by_pair[np.ix_(a.members, b.members)], same.on_planes(_key(a, b))
        each = same.each_on_planes(_key(a, b)).reshape(-1, *by_pair.shape) if _followed_singly(a, b) else None
        interval = interval_of(cross_pair_estimate(by_pair, on_planes, each), SHARE)
        rows.append(sides(a, b) | with_covers("reproducibility", interval) | {"n_planes": scores.planes})
    return pd.DataFrame(rows, columns=BETWEEN)


def _side(group: Group) -> dict[str, Any]:
    return {**group.key, "n_models": len(group.members)}


def _followed_singly(group: Group, other: Group) -> bool:
    """See `dbviz_ray.analysis.scores.group_scores.MAX_SINGLY`; here there are many more pairs."""
    return max(len(group.members), len(other.members)) <= MAX_SINGLY_BETWEEN


def _key(group: Group, other: Group) -> Hashable:
    return ("between", tuple(group.key.values()), tuple(other.key.values()))
