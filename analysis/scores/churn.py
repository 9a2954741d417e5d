"""What changes on the images themselves when a new model takes an old one's place (prediction churn).

Churn: the share of predictions that change (Milani Fard et al., Launch and Iterate, NIPS 2016; Jiang et al., arXiv
2102.03349). Wins: old wrong, new right. Losses: old right, new wrong. The rest goes from one error to another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from analysis.statistics.intervals import LEVEL, Interval

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class Churn:
    """Shares of the images, each with an exact interval over images."""

    churn: Interval
    wins: Interval
    losses: Interval
    p_value: float
    """Exact McNemar test (two-sided) of equal accuracy: whether wins and losses are equally frequent."""


def churn_between(old: Classes, new: Classes, labels: Classes) -> Churn:
    """How the predictions `old` and `new` of images with true `labels` differ, `[images]` each."""
    wins = int(((old != labels) & (new == labels)).sum())
    losses = int(((old == labels) & (new != labels)).sum())
    told = wins + losses
    return Churn(
        churn=share_of_images(int((old != new).sum()), len(labels), models=2),
        wins=share_of_images(wins, len(labels), models=2),
        losses=share_of_images(losses, len(labels), models=2),
        p_value=float(stats.binomtest(wins, told, 0.5).pvalue) if told else 1.0,
    )


def share_of_images(count: int, images: int, models: int = 1) -> Interval:
    """`count` of `images` with the exact interval of a share (Clopper and Pearson 1934), which is never empty."""
    ends = stats.binomtest(count, images).proportion_ci(LEVEL, method="exact")
    return Interval(count / images, float(ends.low), float(ends.high), models, images, "items")
