"""The table `streams`: how much each random stream contributes to the disagreement of trainings.

Disagreement is the variance of one-hot predictions, E|o - o'|^2 / 2, and is divided among the streams like any variance
(Sobol, Mathematics and Computers in Simulation 55, 2001). Of the mean disagreement D of trainings that differ in all
varied streams, a stream's total share, with its interactions, is D(differing in this stream alone) / D; its own share
is 1 - D(differing in all streams but this one) / D.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from ..scores.group_scores import SHARE
from ..scores.groups import GROUP, Group
from ..scores.pair_means import Floats, Mask, PairMeans, PairSet, pairs_within
from ..statistics.estimates import Covers, Estimate
from ..statistics.intervals import interval_of
from .scored import Scored, columns_of, with_covers

STREAMS = [
    *GROUP, "stream", "n_seeds", "disagreement", "disagreement_alone",
    *columns_of("total_share", "own_share", covers=True), "n_models", "n_pairs", "n_pairs_alone", "n_planes",
]  # fmt: skip

Contrast = tuple[Group, tuple[str, ...], Mask, Mask]
"""A group and one of its streams, or several that vary together; the pairs that differ only in it, and the pairs that
differ in all others only, `[members, members]`."""


def stream_sets(groups: Sequence[Group]) -> list[PairSet]:
    """The sets of pairs that the table needs."""
    return [pairs_within(group.members, used) for group, _, *both in _contrasts(groups) for used in both]


def streams_table(scored: Scored) -> pd.DataFrame:
    """One row for each stream of a group in which several streams vary; intervals over their seeds and planes."""
    same, planes = scored.planes.same_points, scored.planes.planes
    rows = [] if same is None else [_row(contrast, same, planes) for contrast in _contrasts(scored.groups)]
    return pd.DataFrame(rows, columns=STREAMS)


def _contrasts(groups: Sequence[Group]) -> Iterator[Contrast]:
    for group in (group for group in groups if len(group.streams) > 1):
        apart = {stream: levels[:, None] != levels for stream, levels in group.streams.items()}
        for stream, own in apart.items():
            others = [differs for name, differs in apart.items() if name != stream]
            alone = own & ~np.logical_or.reduce(others)
            yield group, stream, alone, np.logical_and.reduce(others) & ~own


def _row(contrast: Contrast, same: PairMeans, planes: int) -> dict[str, Any]:
    group, stream, alone, others = contrast
    apart = 1 - same.by_pair(group.members, group.members)
    row = {
        **group.key,
        "stream": stream,
        "n_seeds": len(np.unique(group.streams[stream])),
        "disagreement": apart[group.independent_pairs.mask].mean(),
        "disagreement_alone": apart[alone].mean() if alone.any() else np.nan,
    }
    total, of_others = (_share(group, used, same, apart) for used in (alone, others))
    for name, estimate in (("total_share", total), ("own_share", of_others)):
        interval = interval_of(estimate) if estimate else None
        if interval:
            known = np.array([interval.value, interval.low, interval.high])
            known = 1 - known[[0, 2, 1]] if estimate is of_others else known
            value, low, high = known.clip(*SHARE).tolist()  # a ratio may lie beyond what a share can be
            interval = replace(interval, value=value, low=low, high=high)
        row |= with_covers(name, interval)
    row |= {"n_pairs": group.independent_pairs.size, "n_pairs_alone": int(np.triu(alone).sum())}
    return row | {"n_models": len(group.members), "n_planes": planes}


def _share(group: Group, used: Mask, same: PairMeans, apart: Floats) -> Estimate | None:
    """Disagreement of the `used` pairs over that of independent ones, with pseudo-values by seed and by plane."""
    independent = group.independent_pairs.mask
    if not used.any() or apart[independent].mean() == 0:
        return None

    def ratio(kept: Mask) -> float:
        square = kept[:, None] & kept
        above, below = apart[used & square], apart[independent & square]
        return float(above.mean() / below.mean()) if len(above) and len(below) and below.any() else np.nan

    value = ratio(np.ones(len(group.members), dtype=bool))
    above, below = (1 - same.on_planes(pairs) for pairs in (pairs_within(group.members, used), group.independent_pairs))
    by_plane = value + (above - value * below) / below.mean()
    by_seed = []
    for levels in group.levels:
        names = np.unique(levels)
        without = np.array([ratio(levels != name) for name in names])
        by_seed.append(value - (len(names) - 1) * (without - without.mean()))
    # Without one of two seeds of a stream no ratio is left: the two say nothing about further ones.
    known = tuple(by_seed) if all(np.isfinite(values).all() for values in by_seed) else ()
    covers: Covers = "models and items" if known else "items"
    return Estimate(value, by_plane, known, len(group.members), covers)
