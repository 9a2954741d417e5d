"""The table `resolution`: how the number of regions depends on the grid, and its limit."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ..scores.group_scores import SCORES
from ..scores.groups import GROUP, Group
from ..scores.plane_scores import COUNTS
from ..scores.regions import Floats, extrapolated
from ..statistics.estimates import mean_estimate
from ..statistics.intervals import Interval, interval_of
from .files import value_and_ends
from .scored import Scored

GRID, LIMIT = "grid", "extrapolated"
RESOLUTION = [
    *GROUP, "kind", "resolution", *(f"{score}{end}" for score in COUNTS for end in ("", "_low", "_high")),
    "n_models", "n_planes",
]  # fmt: skip


def resolution_table(scored: Scored) -> pd.DataFrame:
    """One row for each group and each grid within its grid, and one for the limit of ever finer grids.

    Only the number of large regions has a limit; that of all regions has none on a grid (see
    `dbviz_ray.analysis.scores.regions`). `resolution` is empty in the limit. If the grid contains no coarser one, there
    are no rows.
    """
    scores = scored.planes
    rows: list[dict[str, Any]] = []
    if len(scores.by_resolution) > 1:
        limit = extrapolated({points: of["large_regions"] for points, of in scores.by_resolution.items()})
        for group in scored.groups:
            common = {"n_models": len(group.members), "n_planes": scores.planes}
            for resolution, counts in sorted(scores.by_resolution.items()):
                row: dict[str, Any] = {**group.key, "kind": GRID, "resolution": resolution, **common}
                for score in COUNTS:
                    row |= value_and_ends(score, _interval(score, counts[score], group))
                rows.append(row)
            row = {**group.key, "kind": LIMIT, "resolution": None, **common}
            rows.append(row | value_and_ends("large_regions", _interval("large_regions", limit, group)))
    return pd.DataFrame(rows, columns=RESOLUTION).astype({"resolution": "Int64"})


def _interval(score: str, values: Floats, group: Group) -> Interval:
    return interval_of(mean_estimate(values[group.members], group.levels), SCORES[score])
