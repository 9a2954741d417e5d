"""How many more seeds, planes or images a sweep's scores need for a wanted precision, from its table `uncertainty`."""

from __future__ import annotations

import math

import pandas as pd

from ..scores.group_scores import SCORES
from ..scores.groups import GROUP, at_last_epoch, names_of
from ..statistics.intervals import Advice, advice_on
from ..tables.groups import uncertain_scores

ADVISED = ("test_error", "reproducibility", "kappa", "fragmentation", "margin")
IMAGES = {"test_error": "test images", "margin": "images"}
"""The items of these scores; those of all others are planes."""
HOW = (
    "For more seeds or planes, give the same command with grid.seed=[...] or planes.NAME.count=..., another --out and\n"
    "resources.reuse=[this run], which takes over the trained models."
)


def advice_table(uncertainty: pd.DataFrame, wanted: float) -> pd.DataFrame:
    """What each group of the first plane set needs at its last epoch: columns name, label_noise, score, advice.

    `wanted` is the half-width of a 95 % interval: of shares itself, of other scores as a share of the value.
    """
    table = at_last_epoch(uncertainty[uncertainty["plane_set"] == uncertainty["plane_set"].iloc[0]])
    names = dict(zip(table[GROUP].itertuples(index=False, name=None), names_of(table), strict=True))
    rows = []
    for row, interval, variances in uncertain_scores(table):
        score = row["score"]
        if score not in ADVISED or math.isnan(row["value"]):
            continue
        reach = wanted if math.isfinite(SCORES[score][1]) else wanted * row["value"]
        if reach == 0:
            continue  # a share of zero is zero
        advice = advice_on(interval, variances, reach, ("seeds", IMAGES.get(score, "planes")))
        group = {"name": names[tuple(row[column] for column in GROUP)], "label_noise": row["label_noise"]}
        rows.append({**group, "score": score, "advice": advice})
    return pd.DataFrame(rows)


def advice_text(uncertainty: pd.DataFrame, wanted: float) -> str:
    """The same as text for a terminal, and what would satisfy all groups."""
    table = advice_table(uncertainty, wanted)
    lines = [
        f"For 95 % intervals of at most ±{wanted:g} (shares) and ±{wanted:.2g} of the value (other scores):",
    ]
    for (name, noise), rows in table.groupby(["name", "label_noise"], sort=False):
        lines.append(f"{name}, label noise {noise:g}")
        lines += [f"  {row.score:16} {row.advice}" for row in rows.itertuples()]
    return "\n".join([*lines, "", *_for_all(table), "", HOW])


def _for_all(table: pd.DataFrame) -> list[str]:
    """What satisfies every group, one line a score."""
    lines = []
    for score, rows in table.groupby("score", sort=False):
        items = IMAGES.get(str(score), "planes")
        advices: list[Advice] = list(rows["advice"])
        reached = sum(advice.reach <= advice.wanted for advice in advices)
        known = [advice.models for advice in advices if advice.models is not None]
        text = f"{reached} of {len(advices)} groups are within it"
        if reached < len(advices):
            enough = f"; {max(known)} seeds each would do for {len(known)} of them" if known else ""
            text += f"{enough or '; more seeds alone are not enough'} with the {items} there are"
        lines.append(f"{score:18} {text}.")
    return lines
