"""Agreement beyond chance: on planes (Cohen's kappa), and beyond accuracy on labelled images.

Two accurate models agree often, and so do two models that predict one class nearly everywhere. Both scores are
(observed - expected) / (1 - expected): 1 for full agreement, 0 for the agreement expected of models that share only
their class frequencies, or only their accuracy. If the expected agreement is 1 (both predict one class everywhere, or
both are never wrong), the models agree trivially: the score is NaN, and group means leave the pair out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from ..statistics.intervals import LEVEL, Interval

Floats = NDArray[np.float64]
Labels = NDArray[np.uint8]
Classes = NDArray[np.int64]

ROUNDING = 1e-9
"""An expected agreement this close to 1 counts as 1."""
WORD = 64
BLOCK_BYTES = 2**18
"""Bytes of the words that one model is compared with at a time; they should fit into a core's cache."""


def beyond_chance(observed: Floats, expected: Floats) -> Floats:
    """(observed - expected) / (1 - expected), NaN where expected is 1."""
    room = np.where(expected > 1 - ROUNDING, np.nan, 1 - expected)
    return np.asarray((observed - expected) / room)


def cohens_kappa(observed: Floats, shares: Floats) -> Floats:
    """Cohen's kappa (1960) of every two models, over the points of all planes together.

    Expected agreement is sum_c q_a(c) q_b(c) with the shares q of classes over all planes.

    Args:
        observed: `[models, models]`, share of points on which they agree, over all planes.
        shares: `[models, planes, classes]`, share of each class on each plane.

    Returns:
        `[models, models]`, at most 1; NaN where both predict one and the same class everywhere.
    """
    pooled = shares.mean(axis=1)
    return beyond_chance(observed, pooled @ pooled.T)


def kappa_by_item(observed: Floats, shares: Floats) -> Floats:
    """Cohen's kappa of every two models plus the influence of each plane; the mean over planes is the kappa.

    kappa's derivatives are 1 / (1 - e) by observed agreement o and -(1 - o) / (1 - e)^2 by expected agreement e.

    Args:
        observed: `[planes, models, models]`, share of points on which they agree.
        shares: `[models, planes, classes]`, share of each class on each plane.

    Returns:
        `[planes, models, models]`; NaN as in `cohens_kappa`.
    """
    pooled = shares.mean(axis=1)
    expected = np.einsum("apc,bc->pab", shares, pooled) + np.einsum("ac,bpc->pab", pooled, shares)
    by_chance = pooled @ pooled.copy().T  # of a copy: numpy rounds a matrix times its own transpose in another way
    return _by_item(observed, expected - by_chance, by_chance)


def error_consistency(observed: Floats, wrong: NDArray[np.bool_], classes: int) -> Floats:
    """Agreement of every two models on labelled images beyond that of independent models of their accuracies.

    Chance adjusted probabilistic agreement for hard predictions (Goel et al. 2025, arXiv 2502.04313): independent
    models with accuracies r agree on r_a r_b + (1 - r_a)(1 - r_b) / (classes - 1) of the images.

    Args:
        observed: `[models, models]`, share of images for which they predict the same class.
        wrong: `[models, images]`, whether predictions differ from the labels.
        classes: The number of classes, at least two.

    Returns:
        `[models, models]`; NaN where two models are both never wrong.
    """
    return beyond_chance(observed, _of_accuracies(1 - wrong.mean(axis=1), classes))


def error_consistency_by_item(predictions: Labels, wrong: NDArray[np.bool_], classes: int) -> Floats:
    """`error_consistency` plus the influence of each image; the mean over images is the score.

    Returns:
        `[images, models, models]`; NaN as there.
    """
    observed = (predictions[:, None] == predictions).transpose(2, 0, 1).astype(float)
    right = 1 - wrong.T.astype(float)  # [images, models]
    accuracies = right.mean(axis=0)
    expected = _of_accuracies(accuracies, classes)
    moved, slope = right - accuracies, accuracies - (1 - accuracies) / (classes - 1)
    linear = expected + moved[:, :, None] * slope + moved[:, None, :] * slope[:, None]
    return _by_item(observed, linear, expected)


def _by_item(observed: Floats, expected: Floats, mean_expected: Floats) -> Floats:
    """Score plus influences, of `[items, a, b]` observed and (linearised) expected agreement."""
    mean_observed = observed.mean(axis=0)
    score = beyond_chance(mean_observed, mean_expected)
    room = np.where(np.isnan(score), np.nan, 1 - mean_expected)
    of_expected = (1 - mean_observed) / room**2 * (expected - mean_expected)
    return np.asarray(score + (observed - mean_observed) / room - of_expected)


def _of_accuracies(right: Floats, classes: int) -> Floats:
    """Agreement of independent models with the accuracies `right`, `[models]`."""
    if classes < 2:
        raise ValueError(f"classes must be at least 2, not {classes}")
    return np.outer(right, right) + np.outer(1 - right, 1 - right) / (classes - 1)


def agreement(labels: Labels) -> Floats:
    """Share of equal labels of every two models on every plane.

    The reproducibility score of arXiv 2203.08124 is its mean over planes. (The paper calls it intersection over
    union; it is plain agreement.)

    Args:
        labels: `[models, planes, points]`, predicted classes.

    Returns:
        `[planes, models, models]`, symmetric, with ones on the diagonal.
    """
    models, planes, _ = labels.shape
    shares = np.empty((planes, models, models))
    for some, block in agreement_blocks(labels):
        shares[some] = block
    return shares


def agreement_blocks(labels: Labels) -> Iterator[tuple[slice, Floats]]:
    """`agreement` for some planes at a time: the planes, and `[those planes, models, models]`."""
    models, planes, points = labels.shape
    words = -(-points // WORD)
    each = max(1, BLOCK_BYTES // (models * words * 8))
    for first in range(0, planes, each):
        some = slice(first, min(first + each, planes))
        differing = _differing_points(_bit_words(labels[:, some], words))
        yield some, (points - differing - differing.transpose(0, 2, 1)) / points


def _bit_words(labels: Labels, words: int) -> NDArray[np.uint64]:
    """The labels' bits: `[bits, planes, models, words]`; points beyond the last are zero in all models."""
    models, planes, points = labels.shape
    bits = max(1, int(labels.max()).bit_length())
    padded = np.zeros((bits, planes, models, words * WORD), np.uint8)
    by_plane = labels.swapaxes(0, 1)
    for bit in range(bits):
        padded[bit, ..., :points] = (by_plane >> bit) & 1
    return np.packbits(padded, axis=-1).view(np.uint64)


def _differing_points(words: NDArray[np.uint64]) -> Floats:
    """The number of points in which a model differs from each later one: `[planes, models, models]`, else zero."""
    _, planes, models, _ = words.shape
    counts = np.zeros((planes, models, models))
    for model in range(models - 1):
        differs = words[0, :, model, None] ^ words[0, :, model + 1 :]
        for of_bit in words[1:]:
            differs |= of_bit[:, model, None] ^ of_bit[:, model + 1 :]
        counts[:, model, model + 1 :] = np.bitwise_count(differs).sum(axis=-1, dtype=np.int64)
    return counts


@dataclass(frozen=True)
class Churn:
    """Shares of the images, each with an exact interval over images."""

    churn: Interval
    wins: Interval | None
    """None without true classes, like `losses` and `p_value`."""
    losses: Interval | None
    p_value: float | None
    """Exact McNemar test (two-sided) of equal accuracy: whether wins and losses are equally frequent."""


def churn_between(old: Classes, new: Classes, labels: Classes | None) -> Churn:
    """How the predictions `old` and `new` of images with true `labels` differ, `[images]` each."""
    churn = share_of_images(int((old != new).sum()), len(old), models=2)
    if labels is None:
        return Churn(churn, None, None, None)
    wins = int(((old != labels) & (new == labels)).sum())
    losses = int(((old == labels) & (new != labels)).sum())
    told = wins + losses
    return Churn(
        churn=churn,
        wins=share_of_images(wins, len(labels), models=2),
        losses=share_of_images(losses, len(labels), models=2),
        p_value=float(stats.binomtest(wins, told, 0.5).pvalue) if told else 1.0,
    )


def share_of_images(count: int, images: int, models: int = 1) -> Interval:
    """`count` of `images` with the exact interval of a share (Clopper and Pearson 1934), which is never empty."""
    tail = (1 - LEVEL) / 2  # beta quantiles give the ends 400 times faster than a search does
    low = float(special.betaincinv(count, images - count + 1, tail)) if count > 0 else 0.0
    high = float(special.betaincinv(count + 1, images - count, 1 - tail)) if count < images else 1.0
    return Interval(count / images, low, high, models, images, "items")
