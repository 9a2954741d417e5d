"""Verdicts on limits of changes, and on the noise floor of a recipe: numbers in, verdicts out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special

from ..scores.agreement import Floats
from ..statistics.intervals import Interval, changes_of_images, shares_of_images, smallest
from ..statistics.pseudo_values import student, sum_of

FEWEST_RERUNS = 3
"""With two, nothing is known about how much one training differs from the next."""
FLOOR_LEVEL = 0.985
"""Share of further pairs of trainings below the noise floor, if logarithms of churn were normal. In simulations with
other distributions it is at least 95 % (tests/predictions/test_gate.py)."""


class Verdict(StrEnum):
    """What is known about a limit."""

    PASS = "PASS"
    FAIL = "FAIL"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class Changes:
    """Numbers of items that change from an old model to a new one. They need not be whole."""

    items: float
    changed: float
    wins: float = 0.0
    losses: float = 0.0

    def times(self, factor: float) -> Changes:
        """As many more items, of the same kind."""
        return Changes(*(factor * number for number in (self.items, self.changed, self.wins, self.losses)))


def _share(count: Callable[[Changes], float]) -> Callable[[Changes], Interval]:
    return lambda of: shares_of_images(np.array([count(of)]), np.array([of.items]), 2)[0]


@dataclass(frozen=True)
class Measure:
    """Something that may be limited."""

    name: str
    at_most: bool
    """Whether the limit is the largest allowed value, else the smallest."""
    interval: Callable[[Changes], Interval]
    needs_labels: bool = True


MEASURES: Mapping[str, Measure] = {
    "max_negative_flips": Measure("negative flips", True, _share(lambda of: of.losses)),
    "max_churn": Measure("churn", True, _share(lambda of: of.changed), needs_labels=False),
    "min_agreement": Measure("agreement", False, _share(lambda of: of.items - of.changed), needs_labels=False),
    "max_accuracy_drop": Measure(
        "accuracy drop",
        True,
        lambda of: changes_of_images(np.array([of.losses]), np.array([of.wins]), of.items)[0],
    ),
}
"""By the field of a request that limits it."""


@dataclass(frozen=True)
class Check:
    """A limit and what became of it."""

    name: str
    at_most: bool
    limit: float
    value: Interval
    verdict: Verdict
    needed: int | None = None
    """Items that would decide, at the present share; None if it is decided, or none would."""
    p_value: float | None = None
    reruns: int | None = None
    """Trainings that the noise floor comes from."""


def check(field: str, limit: float, changes: Changes) -> Check:
    """Whether a measure keeps its limit: PASS if its whole 95 % interval does, FAIL if no part of it does.

    If the true value breaks the limit, the verdict is PASS in at most 2.5 % of all samples of items.
    """
    measure, items = MEASURES[field], round(changes.items)

    def verdict(interval: Interval) -> Verdict:
        low, high = (interval.low, interval.high) if measure.at_most else (-interval.high, -interval.low)
        bound = limit if measure.at_most else -limit
        return Verdict.PASS if high <= bound else Verdict.FAIL if low > bound else Verdict.UNDECIDED

    def decides(number: int) -> bool:
        return verdict(measure.interval(changes.times(number / changes.items))) is not Verdict.UNDECIDED

    value = measure.interval(changes)
    found = verdict(value)
    needed = smallest(items, decides) if found is Verdict.UNDECIDED else None
    return Check(measure.name, measure.at_most, limit, value, found, needed)


def check_noise_floor(churn: Floats, changed: Interval) -> Check:
    """Whether two models differ by more than two trainings of one recipe do.

    `churn` is the share of items on which two of its trainings differ, `[reruns, reruns]`, on the same items. Its
    logarithm is modelled as m + u_a + u_b + e_ab, with an effect u of every training: shares are skewed. The limit is
    the largest churn of a further pair of trainings at `FLOOR_LEVEL`, from the variances of u and e and Student's t
    with Satterthwaite's degrees of freedom. UNDECIDED with fewer than `FEWEST_RERUNS`.
    """
    reruns, items = len(churn), changed.items
    if reruns < FEWEST_RERUNS:
        return Check("noise floor", True, math.nan, changed, Verdict.UNDECIDED, reruns=reruns)
    above = np.triu_indices(reruns, 1)
    logs = _log_share(churn, items)
    np.fill_diagonal(logs, 0)
    mean = float(logs[above].mean())
    of_training = (reruns - 1) / (reruns - 2) * (logs.sum(axis=1) / (reruns - 1) - mean)
    rest = (logs - mean - of_training - of_training[:, None])[above]
    freedom = reruns * (reruns - 3) // 2
    of_one, of_pair = float(of_training @ of_training) / (reruns - 1), float(rest @ rest) / max(freedom, 1)
    # Each mean over trainings holds a part of e, so the share of e alone is the rest of what a pair has of it.
    share_of_one = 2 * (1 + 2 / reruns)
    share_of_pair = (1 + 2 / (reruns * (reruns - 1)) - share_of_one / (reruns - 2)) * (freedom > 0)
    variance, of_all = sum_of([(share_of_one * of_one, reruns - 1.0), (share_of_pair * of_pair, max(freedom, 1.0))])
    deviation = math.sqrt(variance)
    beyond = float(_log_share(np.array(changed.value), items)) - mean
    limit = math.exp(mean + student(2 * FLOOR_LEVEL - 1, of_all) * deviation)
    p_value = float(special.stdtr(of_all, -beyond / deviation)) if deviation > 0 else float(beyond <= 0)
    verdict = Verdict.FAIL if p_value < 1 - FLOOR_LEVEL else Verdict.PASS
    return Check("noise floor", True, min(limit, 1.0), changed, verdict, p_value=p_value, reruns=reruns)


def _log_share(share: Floats, items: int) -> Floats:
    """The logarithm of a share of items, with half an item more, so that there is one of none."""
    return np.log((share * items + 0.5) / (items + 1))
