"""The table `resolution`: how the number of regions depends on the grid, and where it tends to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.estimates import mean_estimate
from analysis.group_scores import SCORES
from analysis.groups import GROUP, Group
from analysis.intervals import interval_of
from analysis.plane_scores import PlaneScores
from analysis.regions import extrapolated
from analysis.tables.cells import value_and_ends

GRID, LIMIT = "grid", "extrapolated"
RESOLUTION = [*GROUP, "kind", "resolution", "fragmentation", "fragmentation_low", "fragmentation_high", "n_models",
              "n_planes"]  # fmt: skip


def resolution_table(groups: Sequence[Group], scores: PlaneScores) -> pd.DataFrame:
    """One row a group and resolution that the grid contains, and one for the limit of ever finer grids.

    The limit is `analysis.regions.extrapolated`; `resolution` is empty there. No rows where the grid contains no other.
    """
    rows: list[dict[str, Any]] = []
    if len(scores.by_resolution) > 1:
        columns: list[tuple[str, int | None, Any]] = [
            (GRID, resolution, counts) for resolution, counts in sorted(scores.by_resolution.items())
        ]
        columns.append((LIMIT, None, extrapolated(scores.by_resolution)))
        for group in groups:
            for kind, resolution, counts in columns:
                interval = interval_of(mean_estimate(counts[group.members], group.levels), SCORES["fragmentation"])
                row = {**group.key, "kind": kind, "resolution": resolution, **value_and_ends("fragmentation", interval)}
                rows.append(row | {"n_models": len(group.members), "n_planes": scores.planes})
    return pd.DataFrame(rows, columns=RESOLUTION).astype({"resolution": "Int64"})
