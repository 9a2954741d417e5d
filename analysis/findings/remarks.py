"""What a sweep found besides its curves and comparisons, in one sentence each: margins, random streams, grids, models
that predict one class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..scores.groups import GROUP, at_last_epoch, first_planes_at_last_epoch, names_of, records
from ..tables.resolution import GRID, LIMIT
from .curves import Curve, shown_rows
from .sentences import listed

STREAM_NAMES = {
    "init": "initialisation",
    "order": "data order",
    "augmentation": "augmentation",
    "dropout": "dropout",
    "label_noise": "label noise",
}


def margin_sentences(found: Sequence[Curve]) -> list[str]:
    """How margins change over each curve of the first plane set; nothing where there are none."""
    sentences = []
    for curve in found:
        rows = curve.rows.iloc[list(shown_rows(curve).values())]
        kinds = {
            "correctly labelled training images": "margin_correct",
            "mislabelled ones": "margin_mislabelled",
        }
        if rows["margin_mislabelled"].isna().all():
            kinds = {"": "margin"}
        if rows[list(kinds.values())].isna().any(axis=None):
            continue
        parts = [f"{kind} {_at(rows, curve.axis.column, score)}".strip() for kind, score in kinds.items()]
        least = rows["margin_found"].min()
        beyond = f" (in up to {1 - least:.0%} of directions no change was found; there, the distance searched counts)"
        sentences.append(
            f"{curve.name}, label noise {curve.key['label_noise']:g}: how far images are from where the predicted "
            f"class changes (L2 in normalised pixels): {'; '.join(parts)}{beyond if least < 1 else ''}."
        )
    return sentences


def _at(rows: pd.DataFrame, column: str, score: str) -> str:
    """The values of a score: `1.20 [1.10, 1.30] at width 8, ...`."""
    each = [
        f"{row[score]:.3g} [{row[f'{score}_low']:.3g}, {row[f'{score}_high']:.3g}] at {column} {row[column]}"
        for row in records(rows)
    ]
    return ", ".join(each)


def stream_sentences(streams: pd.DataFrame) -> list[str]:
    """What each random stream does alone, for each group of the first plane set at its last epoch."""
    if streams.empty:
        return []
    last = first_planes_at_last_epoch(streams)
    sentences = []
    for (name, noise, disagreement), rows in last.groupby(["name", "label_noise", "disagreement"], sort=False):
        parts = {
            "changing one thing alone makes this share of that": _shares(rows, "total_share"),
            "keeping one thing alone the same takes this share away": _shares(rows, "own_share"),
        }
        told = "; ".join(f"{what}: {shares}" for what, shares in parts.items() if shares)
        if told:
            sentences.append(
                f"{name}, label noise {noise:g}: trainings that differ in everything disagree on {disagreement:.1%} of "
                f"the points; {told} (intervals over {_covers(rows)})."
            )
    return sentences


def _covers(rows: pd.DataFrame) -> str:
    """What the intervals of all shares are about."""
    said = {text for kind in ("total", "own") for text in rows[f"{kind}_share_interval_covers"]} - {"nothing"}
    return " or ".join(sorted(text.replace("models", "seeds") for text in said))


def _shares(rows: pd.DataFrame, score: str) -> str:
    """`data order 36% [34%, 38%], ...` of the streams whose share is known."""
    known = records(rows[rows[score].notna()])
    return ", ".join(f"{_stream_name(row['stream'])} {_share(row, score)}" for row in known)


def _stream_name(streams: str) -> str:
    return " with ".join(STREAM_NAMES[stream] for stream in streams.split("+"))


def _share(row: Mapping[str, Any], score: str) -> str:
    return f"{row[score]:.0%} [{row[f'{score}_low']:.0%}, {row[f'{score}_high']:.0%}]"


def resolution_sentences(resolution: pd.DataFrame, groups: pd.DataFrame) -> list[str]:
    """How region counts depend on the grid, for the group with most regions."""
    if resolution.empty:
        return []
    last = at_last_epoch(resolution)
    limits = last[last["kind"] == LIMIT]
    most = records(limits)[int(limits["large_regions"].to_numpy().argmax())]
    own = last[(last[[*GROUP, "plane_set"]] == [most[column] for column in (*GROUP, "plane_set")]).all(axis=1)]
    grids = own[own["kind"] == GRID].sort_values("resolution")
    named = at_last_epoch(groups[groups["plane_set"] == most["plane_set"]])
    names = dict(zip(named[GROUP].itertuples(index=False, name=None), names_of(named), strict=True))
    name = names[tuple(most[column] for column in GROUP)]
    steps = ", ".join(
        f"{row['resolution']:.0f} points a side: {row['fragmentation']:.2f} ({row['large_regions']:.2f})"
        for row in records(grids)
    )
    return [
        f"{name}, label noise {most['label_noise']:g}, {most['plane_set']} planes: regions a plane, and in brackets "
        f"large ones, as the grid gets finer: {steps}; large ones in the limit: {most['large_regions']:.2f} "
        f"[{most['large_regions_low']:.2f}, {most['large_regions_high']:.2f}]."
    ]


def constant_sentences(groups: pd.DataFrame) -> list[str]:
    """Which groups have trainings that predict one class for every test image; nothing if none have."""
    last = first_planes_at_last_epoch(groups)
    rows = records(last[last["n_constant"] > 0])
    if not rows:
        return []
    named = [
        f"{row['name']}, label noise {row['label_noise']:g} ({row['n_constant']} of {row['n_models']})" for row in rows
    ]
    return [
        "Some trainings learned nothing: they predict one class for every test image. Two of them may agree, and mean "
        f"nothing by it; kappa leaves such pairs out: {listed(named)}."
    ]
