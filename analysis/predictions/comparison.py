"""The comparison of predictions: all scores of two or more models on the same items, and of parts of the items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Labels

from ..statistics.intervals import Interval, interval_of, shares_of_images, smallest
from .files import Classes
from .matching import Predictions
from .scores import SHARE, OnItems, Truth, agreement_of_all, errors_of, kappa_of, pairs_on_items

OF_LABELS = "label"
"""The groups of items with the same true class."""


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes of some of the items from the first model to the last one."""

    column: str
    """What parts the items: `OF_LABELS`, or a column of the files."""
    name: str
    items: int
    churn: Interval
    wins: Interval | None
    losses: Interval | None


@dataclass(frozen=True)
class PredictionScores:
    """How far two or more models are the same model, by their predictions."""

    predictions: Predictions
    errors: Sequence[Interval | None]
    """Of the models."""
    pairs: Sequence[OnItems]
    """Every two models, in the order given."""
    kappas: Sequence[Interval]
    """Cohen's kappa of every two models: agreement beyond that of their class frequencies."""
    agreement: Interval
    """Share of the items on which two models agree, a mean over pairs. Over items, and of three or more models, models
    too."""
    contested: float
    """Share of the items on which some two models disagree: their ambiguity."""
    parts: Sequence[Part]

    @property
    def names(self) -> Sequence[tuple[str, str]]:
        """Of the models of each pair, the old one before the new one."""
        return list(combinations(self.predictions.names, 2))

    def items_for(self, precision: float) -> int | None:
        """Items with which the agreement of every two models is known to ±`precision`; None beyond 10 million."""
        churn = max((pair.churn for pair in self.pairs), key=lambda share: share.value * (1 - share.value))
        changed = churn.value * churn.items

        def suffices(items: int) -> bool:
            [scaled] = shares_of_images(np.array([changed / churn.items * items]), items)
            return scaled.high - scaled.low <= 2 * precision

        return churn.items if suffices(churn.items) else smallest(churn.items, suffices)


def compared(predictions: Predictions) -> PredictionScores:
    """All scores of these predictions."""
    predicted, truth, classes = predictions.predicted, predictions.truth, len(predictions.class_names)
    classes = max(classes, 2)
    old, new = predicted[0], predicted[-1]
    groups = {} if truth is None else {OF_LABELS: (truth, predictions.class_names)}
    return PredictionScores(
        predictions,
        errors_of(predicted, truth),
        list(pairs_on_items(predicted, truth, classes)),
        [kappa_of(one, other, classes) for one, other in combinations(predicted, 2)],
        interval_of(agreement_of_all(predicted), SHARE),
        float((predicted != old).any(axis=0).mean()),
        [part for name, of in {**groups, **predictions.groups}.items() for part in _parts(name, of, old, new, truth)],
    )


def _parts(column: str, groups: Classes, old: Labels, new: Labels, truth: Truth) -> Iterator[Part]:
    """Groups that have items, in the order of their names."""
    numbers, names = groups

    def shares(counted: NDArray[np.bool_]) -> list[Interval]:
        return shares_of_images(np.bincount(numbers[counted], minlength=len(names))[there], items[there], 2)

    items = np.bincount(numbers, minlength=len(names))
    there = np.flatnonzero(items)
    found: list[Sequence[Interval | None]] = [shares(old != new), [None] * len(there), [None] * len(there)]
    if truth is not None:
        found[1:] = [shares((old != truth) & (new == truth)), shares((old == truth) & (new != truth))]
    for place, *each in zip(there.tolist(), *found, strict=True):
        churn, wins, losses = each
        assert churn is not None
        yield Part(column, names[place], int(items[place]), churn, wins, losses)
