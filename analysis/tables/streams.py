"""The table `streams`: how much each random stream contributes to the disagreement of trainings.

With one-hot predictions o, two trainings disagree on a point with probability E|o - o'|^2 / 2. So disagreement is a
variance, and it is divided among the streams (initialisation, data order, augmentation, label noise) like any variance
(Sobol, Mathematics and Computers in Simulation 55, 2001). Let D be the mean disagreement of trainings that differ in
all varied streams. Then a stream has

    total share = D(differing in this stream alone) / D,
    own share   = 1 - D(differing in all streams but this one) / D.

The own share is the effect of the stream by itself; the total share includes its interactions. If they are far apart,
the streams interact: each of them alone is enough to change the model.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..scores.group_scores import SHARE, within
from ..scores.groups import GROUP, Group
from ..scores.plane_scores import PairMeans, PairSet, pairs_within
from ..statistics.estimates import Covers, Estimate
from ..statistics.intervals import interval_of
from .files import covers_text, value_and_ends
from .scored import Scored

Floats = NDArray[np.float64]
STREAMS = [
    *GROUP, "stream", "n_seeds", "disagreement", "disagreement_alone",
    *(f"{share}_share{end}" for share in ("total", "own") for end in ("", "_low", "_high", "_interval_covers")),
    "n_models", "n_pairs", "n_pairs_alone", "n_planes",
]  # fmt: skip


@dataclass(frozen=True)
class _Contrast:
    """One stream of a group: the pairs that differ only in it, and the pairs that differ in all others only."""

    group: Group
    stream: tuple[str, ...]
    """Names of streams that vary together, mostly one."""
    alone: NDArray[np.bool_]
    """`[members, members]`."""
    others: NDArray[np.bool_]

    def key(self, kind: str) -> Hashable:
        return ("stream", tuple(self.group.key.values()), self.stream, kind)


def varies_streams(group: Group) -> bool:
    """Whether several random streams vary separately within a group."""
    return len(group.streams) > 1


def stream_sets(groups: Sequence[Group]) -> dict[Hashable, PairSet]:
    """The sets of pairs that the table needs."""
    return {
        contrast.key(kind): pairs_within(contrast.group.members, used)
        for contrast in _contrasts(groups)
        for kind, used in (("alone", contrast.alone), ("others", contrast.others))
        if used.any()
    }


def streams_table(scored: Scored) -> pd.DataFrame:
    """One row for each stream of a group in which several streams vary; intervals over their seeds and planes."""
    scores = scored.planes
    if scores.same_points is None:
        return pd.DataFrame(columns=STREAMS)
    same, rows = scores.same_points, []
    for contrast in _contrasts(scored.groups):
        group = contrast.group
        apart = 1 - same.by_pair[np.ix_(group.members, group.members)]
        shares = {"total": _share(contrast, same, apart, "alone"), "own": _share(contrast, same, apart, "others")}
        row = {**group.key, "stream": contrast.stream, "n_seeds": len(np.unique(group.streams[contrast.stream]))}
        row["disagreement"] = apart[group.independent].mean()
        row["disagreement_alone"] = apart[contrast.alone].mean() if contrast.alone.any() else np.nan
        for name, estimate in shares.items():
            interval = interval_of(estimate, SHARE) if estimate else None
            row |= value_and_ends(f"{name}_share", interval)
            row[f"{name}_share"] = float(np.clip(row[f"{name}_share"], *SHARE))  # as its interval is
            row[f"{name}_share_interval_covers"] = covers_text(interval)
        row |= {"n_models": len(group.members), "n_pairs": int(np.triu(group.independent).sum())}
        row |= {"n_pairs_alone": int(np.triu(contrast.alone).sum()), "n_planes": scores.planes}
        rows.append(row)
    return pd.DataFrame(rows, columns=STREAMS)


def _contrasts(groups: Sequence[Group]) -> Iterator[_Contrast]:
    for group in groups:
        if not varies_streams(group):
            continue
        apart = {stream: levels[:, None] != levels for stream, levels in group.streams.items()}
        for stream in apart:
            others = [differs for name, differs in apart.items() if name != stream]
            alone = apart[stream] & ~np.logical_or.reduce(others)
            yield _Contrast(group, stream, alone, np.logical_and.reduce(others) & ~apart[stream])


def _share(contrast: _Contrast, same: PairMeans, apart: Floats, kind: str) -> Estimate | None:
    """The share estimated from one kind of pairs, with pseudo-values by the seeds of each stream and by plane."""
    used, group = getattr(contrast, kind), contrast.group
    if not used.any() or apart[group.independent].mean() == 0:
        return None

    def ratio(kept: NDArray[np.bool_]) -> float:
        square = kept[:, None] & kept
        above, below = apart[used & square], apart[group.independent & square]
        return float(above.mean() / below.mean()) if len(above) and len(below) and below.any() else np.nan

    value = ratio(np.ones(len(group.members), dtype=bool))
    above, below = 1 - same.on_planes(contrast.key(kind)), 1 - same.on_planes(within(group))
    by_plane = value + (above - value * below) / below.mean()
    by_seed = tuple(_jackknifed(ratio, value, levels) for levels in group.levels)
    known = tuple(values for values in by_seed if values is not None)
    if len(known) < len(by_seed):  # two seeds of a stream say nothing about further ones
        known = ()
    if kind == "others":
        value, by_plane, known = 1 - value, 1 - by_plane, tuple(1 - values for values in known)
    covers: Covers = "models and items" if known else "items"
    return Estimate(value, by_plane, known, 0.0, 0, len(group.members), covers)


def _jackknifed(
    statistic: Callable[[NDArray[np.bool_]], float], value: float, levels: NDArray[np.int64]
) -> Floats | None:
    """Jackknife pseudo-values of the seeds of a stream, centred on the value.

    None if the statistic is undefined without one of the seeds.
    """
    names = np.unique(levels)
    without = np.array([statistic(levels != name) for name in names])
    return np.asarray(value - (len(names) - 1) * (without - without.mean())) if np.isfinite(without).all() else None
