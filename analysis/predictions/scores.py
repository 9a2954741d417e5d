"""Scores of predicted classes alone, of two models or many: arrays in, numbers out.

An item is whatever was classified: an image, a text, a row. What needs the true classes is None without them.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray
from scipy import special

from dbviz_ray.store import Labels

from ..scores.agreement import agreement, beyond_chance, by_item, pairs_on_labelled_images, partners_on_images
from ..statistics.estimates import Estimate, every_pair_estimate
from ..statistics.intervals import Interval, Means, changes_of_images, holm, shares_of_images

SHARE = (0.0, 1.0)
CORRECTED = (-math.inf, 1.0)
Truth = NDArray[np.int64] | None


@dataclass(frozen=True, slots=True)
class OnItems:
    """Two models, the old one and the new one, on the same items: shares of these, with exact intervals over items."""

    churn: Interval
    """They predict different classes."""
    wins: Interval | None
    """The old one is wrong, the new one right."""
    losses: Interval | None
    """The old one is right, the new one wrong: negative flips."""
    accuracy_change: Interval | None
    """New minus old, paired item by item; its interval holds 0 unless the McNemar test rejects at 5 %."""
    p_value: float | None
    """Exact McNemar test (two-sided) of equal accuracy: whether wins and losses are equally frequent."""
    p_holm: float | None
    """The same, corrected for the number of pairs (Holm)."""
    capa: Interval | None
    """Agreement, corrected for accuracy."""

    @property
    def agreement(self) -> float:
        """Share of the items for which the two predict the same class."""
        return 1 - self.churn.value


def pairs_on_items(predicted: Labels, truth: Truth, classes: int) -> Iterator[OnItems]:
    """Every two models, as of `numpy.triu_indices`; `predicted` are `[models, items]`, `truth` is `[items]`."""
    models, items = predicted.shape
    first, second = np.triu_indices(models, 1)
    differing = np.rint((1 - agreement(predicted[:, None])[0][first, second]) * items).astype(np.int64)
    churn = shares_of_images(differing, items, 2)
    if truth is None:
        return map(OnItems, churn, *[repeat(None)] * 6)
    won, lost, capas = pairs_on_labelled_images(differing, predicted == truth, classes)
    wins, losses = (shares_of_images(counts, items, 2) for counts in (won, lost))
    mcnemar = np.minimum(2 * special.bdtr(np.minimum(won, lost), won + lost, 0.5), 1.0)
    tests = mcnemar.tolist(), holm(mcnemar).tolist()
    return map(OnItems, churn, wins, losses, changes_of_images(won, lost, items), *tests, capas.intervals(CORRECTED))


def errors_of(predicted: Labels, truth: Truth) -> Sequence[Interval | None]:
    """The share of the items that each model classifies wrongly, with the exact interval."""
    if truth is None:
        return [None] * len(predicted)
    return shares_of_images((predicted != truth).sum(axis=1), predicted.shape[1])


def agreement_of_all(predicted: Labels) -> Estimate:
    """The share of items on which two models agree, a mean over pairs: over items, and, of three or more, models."""
    return every_pair_estimate(partners_on_images(predicted))


def kappa_of(old: Labels, new: Labels, classes: int) -> Interval:
    """Cohen's kappa of two models' classes, `[items]` each: agreement beyond that of their class frequencies."""
    items = len(old)
    cells, counts = np.unique(old.astype(np.int64) * classes + new, return_counts=True)
    one, other = np.divmod(cells, classes)
    frequencies = [np.bincount(side, counts, classes) / items for side in (one, other)]
    alike, by_chance = (one == other).astype(float), float(frequencies[0] @ frequencies[1])
    observed = float(alike @ counts) / items
    expected = frequencies[1][one] + frequencies[0][other] - by_chance
    values = by_item(alike, expected, np.array([observed]), np.array([by_chance]))
    value = beyond_chance(np.array([observed]), np.array([by_chance]))
    return Means.of(value, items, zip(values, counts, strict=True)).intervals(CORRECTED, models=2)[0]
