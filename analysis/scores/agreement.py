"""Agreement beyond chance: on planes (Cohen's kappa), and beyond accuracy on labelled images.

Two accurate models agree often, and so do two models that predict one class nearly everywhere. Both scores are
(observed - expected) / (1 - expected): 1 for full agreement, 0 for the agreement expected of models that share only
their class frequencies, or only their accuracy. If the expected agreement is 1 (both predict one class everywhere, or
both are never wrong), the models agree trivially: the score is NaN, and group means leave the pair out.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Labels

from ..statistics.estimates import Rows, blocks_of_rows
from ..statistics.intervals import Means
from .pair_means import ByRows
from .regions import class_shares

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ROUNDING = 1e-9
"""An expected agreement this close to 1 counts as 1."""
WORD = 64
BLOCK_BYTES = 2**18
"""Bytes of the words that one model is compared with at a time; they should fit into a core's cache."""
ROW_BYTES = 2**25
"""Bytes of numbers of pairs, or of models and images, that are in memory at a time."""
PLANES = 64
"""Planes in memory at a time, if all pairs are wanted on each."""


def beyond_chance(observed: Floats, expected: Floats) -> Floats:
    """(observed - expected) / (1 - expected), NaN where expected is 1."""
    room = np.where(expected > 1 - ROUNDING, np.nan, 1 - expected)
    return np.asarray((observed - expected) / room)


def cohens_kappa(observed: Rows, shares: Floats | NDArray[np.float32]) -> ByRows:
    """Cohen's kappa (1960) of every two models over the points of all planes, `[models, models]`, at most 1.

    Expected agreement is sum_c q_a(c) q_b(c) with the shares q of classes over all planes. `observed` is the share of
    points on which they agree, `[models, models]`; `shares` are those of the classes, `[models, planes, classes]`.
    """
    pooled = shares.mean(axis=1, dtype=float)
    return ByRows(len(pooled), lambda rows: beyond_chance(observed[rows], pooled[rows] @ pooled.T))


def kappa_by_item(observed: Floats, shares: Floats) -> Floats:
    """`cohens_kappa` plus the influence of each plane, `[planes, models, models]`, with the kappa as mean over planes.

    `observed` is the agreement on each plane, `[planes, models, models]`.
    """
    pooled = shares.mean(axis=1)
    expected = np.einsum("apc,bc->pab", shares, pooled) + np.einsum("ac,bpc->pab", pooled, shares)
    by_chance = pooled @ pooled.copy().T  # of a copy: numpy rounds a matrix times its own transpose in another way
    return by_item(observed, expected - by_chance, observed.mean(axis=0), by_chance)


def capa(observed: Rows, wrong: NDArray[np.bool_], classes: int) -> ByRows:
    """Agreement of every two models on labelled images beyond that of independent models of their accuracies.

    CAPA, the chance adjusted probabilistic agreement, of predictions without probabilities (Goel et al. 2025, arXiv
    2502.04313, kappa_p): independent models with accuracies r agree on r_a r_b + (1 - r_a)(1 - r_b) / (classes - 1)
    of the images. Error consistency (Geirhos et al. 2020, arXiv 2006.16736) is another score, the kappa of being
    right: two models that make different errors on the same images are consistent, but do not agree. `observed` is the
    share of images for which they predict the same class, `[models, models]`; `wrong` says which predictions differ
    from the labels, `[models, images]`.
    """
    right = 1 - wrong.mean(axis=1)
    return ByRows(len(right), lambda rows: beyond_chance(observed[rows], of_accuracies(right[rows], right, classes)))


def capa_by_item(predictions: Labels, wrong: NDArray[np.bool_], classes: int) -> Floats:
    """`capa` plus the influence of each image, `[images, models, models]`; its mean is the score."""
    observed = (predictions[:, None] == predictions).transpose(2, 0, 1).astype(float)
    right = 1 - wrong.T.astype(float)  # [images, models]
    accuracies = right.mean(axis=0)
    expected = of_accuracies(accuracies, accuracies, classes)
    moved, slope = right - accuracies, accuracies - (1 - accuracies) / (classes - 1)
    linear = expected + moved[:, :, None] * slope + moved[:, None, :] * slope[:, None]
    return by_item(observed, linear, observed.mean(axis=0), expected)


def by_item(observed: Floats | float, expected: Floats, mean_observed: Floats, mean_expected: Floats) -> Floats:
    """`beyond_chance` of the means plus the influence of each item, of its observed and (linearised) expected value.

    Its derivatives are 1 / (1 - e) by observed agreement o and -(1 - o) / (1 - e)^2 by expected agreement e.
    """
    score = beyond_chance(mean_observed, mean_expected)
    room = np.where(np.isnan(score), np.nan, 1 - mean_expected)
    of_expected = (1 - mean_observed) / room**2 * (expected - mean_expected)
    return np.asarray(score + (observed - mean_observed) / room - of_expected)


def of_accuracies(right: Floats, others: Floats, classes: int) -> Floats:
    """Agreement of independent models with these accuracies: `[models, others]`."""
    if classes < 2:
        raise ValueError(f"classes must be at least 2, not {classes}")
    return np.outer(right, others) + np.outer(1 - right, 1 - others) / (classes - 1)


def weighted_agreement(predictions: Labels, rows: slice, weights: Floats, classes: int) -> Floats:
    """Sums of several weights, `[kinds, rows, models]`, of the pairs that agree on an image: `[kinds, images]`."""
    models, images = predictions.shape
    total, each = np.zeros((len(weights), images)), max(1, ROW_BYTES // (8 * models))
    for some in (slice(start, start + each) for start in range(0, images, each)):
        for label in range(classes):
            own = (predictions[:, some] == label).astype(float)
            total[:, some] += np.einsum("kmi,mi->ki", weights @ own, own[rows])
    return total


def mean_by_item(
    predictions: Labels, wrong: NDArray[np.bool_], classes: int, observed: Rows, used: NDArray[np.bool_] | None = None
) -> tuple[Floats, Floats]:
    """The means over pairs of models: the share that agrees, and CAPA, `[images]` each.

    `used`, `[models, models]`, symmetric, are the pairs that count, by default every two.
    The second is the mean of `capa_by_item` over the pairs whose CAPA is defined, NaN without one. It is linear in the
    images, so that it needs no number for each pair and image. `observed` is as in `capa`.
    """
    accuracies = 1 - wrong.mean(axis=1)
    slope = accuracies - (1 - accuracies) / (classes - 1)
    alike, beyond, models = np.zeros(wrong.shape[1]), np.zeros(wrong.shape[1]), np.arange(len(wrong))
    pairs = number = 0
    for rows in blocks_of_rows(len(wrong)):
        counted = models[rows, None] != models if used is None else used[rows]
        expected = of_accuracies(accuracies[rows], accuracies, classes)
        known = counted & (expected <= 1 - ROUNDING)
        room = np.where(known, 1 - expected, 1)
        weights = known / room
        agreeing, weighted = weighted_agreement(predictions, rows, np.stack([counted, weights]), classes)
        by_expected = (weights * (1 - observed[rows]) / room) @ slope
        alike += agreeing
        beyond += weighted - (weights * expected).sum()
        beyond -= 2 * (1 - accuracies[rows, None] - wrong[rows]).T @ by_expected
        pairs += int(np.count_nonzero(counted))
        number += int(np.count_nonzero(known))
    return alike / max(1, pairs), beyond / (number or np.nan)


def agreement(labels: Labels) -> Floats:
    """Share of equal `labels` `[models, planes, points]` of every two models on a plane, `[planes, models, models]`.

    The reproducibility score of arXiv 2203.08124 is its mean over planes. (The paper calls it intersection over
    union; it is plain agreement.)
    """
    return np.concatenate([block for _, block in agreement_blocks(labels)])


def agreement_blocks(labels: Labels) -> Iterator[tuple[slice, Floats]]:
    """`agreement` for some planes at a time: the planes, and `[those planes, models, models]`."""
    models, planes, points = labels.shape
    for first in range(0, planes, PLANES):
        some = slice(first, min(first + PLANES, planes))
        words = bit_words(labels[:, some], max(1, int(labels.max()).bit_length()))
        same = np.empty((some.stop - first, models, models))
        for rows in rows_together(models, some.stop - first):
            same[:, rows] = agreeing_points(words, points, rows).transpose(2, 0, 1)
        same += same.transpose(0, 2, 1).copy()
        same /= points
        same[:, range(models), range(models)] = 1
        yield some, same


def bit_words(labels: Labels, bits: int) -> NDArray[np.uint64]:
    """The bits of `labels` `[models, planes, points]`: `[bits, models, words, planes]`, zero beyond the last point."""
    models, planes, points = labels.shape
    words = -(-points // WORD)
    packed = np.zeros((bits, models, planes, words * WORD // 8), np.uint8)
    for bit in range(bits):
        packed[bit, ..., : -(-points // 8)] = np.packbits((labels >> bit) & 1 == 1, axis=-1)
    return np.ascontiguousarray(packed.view(np.uint64).swapaxes(2, 3))


def rows_together(models: int, planes: int) -> list[slice]:
    """Blocks of models for `agreeing_points`."""
    each = max(1, ROW_BYTES // (4 * models * planes))
    return [slice(first, min(first + each, models)) for first in range(0, models, each)]


def agreeing_points(words: NDArray[np.uint64], points: int, rows: slice) -> NDArray[np.uint32]:
    """The points on which the models `rows` agree with all later ones: `[rows, models, planes]`, else zero.

    `words` are `bit_words` of labels with so many `points`.
    """
    _, models, size, planes = words.shape
    together = max(1, BLOCK_BYTES // (words.itemsize * size * planes))
    differs, of_bit = np.empty((2, together, size, planes), np.uint64)
    counts = np.empty(differs.shape, np.uint8)
    same = np.zeros((rows.stop - rows.start, models, planes), np.uint32)
    for own in range(rows.start, rows.stop):
        for start in range(own + 1, models, together):
            some = slice(start, min(start + together, models))
            number = some.stop - start
            np.bitwise_xor(words[0, some], words[0, own], out=differs[:number])
            for bit in words[1:]:
                np.bitwise_xor(bit[some], bit[own], out=of_bit[:number])
                np.bitwise_or(differs[:number], of_bit[:number], out=differs[:number])
            np.bitwise_count(differs[:number], out=counts[:number])
            # As sum(axis=1), in half the time.
            same[own - rows.start, some] = points - np.einsum("mwp->mp", counts[:number], dtype=np.uint32)
    return same


def pairs_on_planes(label_maps: Labels, classes: int) -> tuple[Floats, Floats, Means, Floats]:
    """How far every two models agree on planes, in the order of `numpy.triu_indices`.

    Of 1,000 models there are 499,500 pairs: only the first result has a number for each pair and plane. `label_maps`
    are `[models, planes, rows, columns]`.

    Returns:
        The share of points on which they agree, `[planes, pairs]`; its mean over a model's pairs, `[models, planes]`;
        Cohen's kappas; and the share of each class in the points of all planes, `[models, classes]`.
    """
    models, planes = label_maps.shape[:2]
    first, second = np.triu_indices(models, 1)
    same, partners, pooled = np.empty((planes, len(first))), np.empty((models, planes)), np.zeros((models, classes))
    for some, block in agreement_blocks(label_maps.reshape(models, planes, -1)):
        same[some] = block[:, first, second]
        partners[:, some] = (block.sum(axis=2).T - 1) / (models - 1)
    for maps in label_maps.swapaxes(0, 1):
        pooled += class_shares(maps, classes) / planes
    mean, by_chance = same.mean(axis=0), (pooled @ pooled.T)[first, second]

    def kappas() -> Iterator[tuple[Floats, int]]:
        for agreeing, maps in zip(same, label_maps.swapaxes(0, 1), strict=True):
            expected = class_shares(maps, classes) @ pooled.T
            yield by_item(agreeing, (expected + expected.T)[first, second] - by_chance, mean, by_chance), 1

    return same, partners, Means.of(beyond_chance(mean, by_chance), planes, kappas()), pooled


def partners_on_images(predicted: Labels) -> Floats:
    """For predicted classes `[models, images]`, the share of the other models that predict a model's class."""
    alike = np.zeros(predicted.shape)
    for own in predicted:
        alike += predicted == own
    return (alike - 1) / (len(predicted) - 1)


def pairs_on_labelled_images(
    differing: Integers, right: NDArray[np.bool_], classes: int
) -> tuple[Integers, Integers, Means]:
    """Wins and losses of every two models, `[pairs]`, and the means of their CAPA.

    Images of one outcome (who is right, do the two agree) are all alike. `differing` says for how many images two
    models predict different classes, `[pairs]`; `right` whether predictions are the labels, `[models, images]`.
    """
    models, images = right.shape
    first, second = np.triu_indices(models, 1)
    accuracies = right.mean(axis=1)
    slopes = accuracies - (1 - accuracies) / (classes - 1)
    same, by_chance = 1 - differing / images, of_accuracies(accuracies, accuracies, classes)[first, second]
    each = np.rint(right.astype(float) @ right.T.astype(float)).astype(np.int64)
    both, correct = each[first, second], each.diagonal()
    losses, wins = correct[first] - both, correct[second] - both
    outcomes = (  # the old one is right, the new one is right, they agree, on how many images
        (True, True, True, both),
        (True, False, False, losses),
        (False, True, False, wins),
        (False, False, True, images - differing - both),
        (False, False, False, differing - losses - wins),
    )

    def capas() -> Iterator[tuple[Floats, Integers]]:
        for old, new, agree, count in outcomes:
            moved = (old - accuracies[first]) * slopes[second] + (new - accuracies[second]) * slopes[first]
            yield by_item(agree, by_chance + moved, same, by_chance), count

    return wins, losses, Means.of(beyond_chance(same, by_chance), images, capas())
