"""How often models say the same: labels compared 64 points at a time.

A label is cut into its bits, and each bit of all points of a plane into 64-bit words. Two models agree on a point where
no bit differs, so one pair costs a few exclusive-ors and a population count per 64 points. On one core of an AMD EPYC
9005, 1,000 models on a plane of 2,500 points: 71 ms, against 482 ms for comparing bytes and 275 ms for products of
one-hot float32 matrices (2026-11-22).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Floats = NDArray[np.float64]

WORD = 64
BLOCK_BYTES = 2**18
"""Of the words that one model is compared with at a time: they should stay in a core's cache."""


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
    """What `agreement` returns, some planes at a time: which planes, and `[those planes, models, models]`."""
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
    """In how many points a model differs from each later one: `[planes, models, models]`, zero elsewhere."""
    _, planes, models, _ = words.shape
    counts = np.zeros((planes, models, models))
    for model in range(models - 1):
        differs = words[0, :, model, None] ^ words[0, :, model + 1 :]
        for of_bit in words[1:]:
            differs |= of_bit[:, model, None] ^ of_bit[:, model + 1 :]
        counts[:, model, model + 1 :] = np.bitwise_count(differs).sum(axis=-1, dtype=np.int64)
    return counts
