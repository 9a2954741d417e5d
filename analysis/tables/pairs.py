"""The tables of two models or groups: `pairs`, `between_groups` (the paper's Figure 4) and `differences`."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..scores.agreement import Floats, beyond_chance, of_accuracies
from ..scores.group_scores import SCORES, SHARE
from ..scores.groups import GROUP, Group, records
from ..scores.pair_means import PairSet
from ..statistics.estimates import cross_pair_estimate, difference
from ..statistics.intervals import holm, interval_of, p_value, ratio_interval
from .scored import Scored, columns_of, covers_text, value_and_ends, with_covers

ROWS_TOGETHER = 2**16
"""Rows of `pairs` in memory at a time, about."""


def pairs_table(scored: Scored) -> Iterator[pd.DataFrame]:
    """One row for every two models, in parts."""
    models, planes, predictions = scored.configs, scored.planes, scored.observed.predictions
    ids = np.array([model.model_id for model in models], dtype=object)
    teachers = np.array([model.teacher or "" for model in models])
    number = np.empty(len(models), dtype=int)
    for index, group in enumerate(scored.groups):
        number[group.members] = index
    epochs, classes = np.array(scored.epochs), planes.class_shares.shape[2]
    shares = planes.class_shares.mean(axis=1, dtype=float)
    right = 1 - predictions.test_wrong.mean(axis=1)
    each = max(1, ROWS_TOGETHER // len(models))
    for start in range(0, max(1, len(models) - 1), each):
        rows, later = np.arange(start, min(start + each, len(models))), np.arange(start, len(models))
        one, other = np.nonzero(rows[:, None] < later)
        first, second = rows[one], later[other]
        columns = {
            "model_a": ids[first],
            "model_b": ids[second],
            "epoch_a": epochs[first],
            "epoch_b": epochs[second],
            "same_group": number[first] == number[second],
            "student_and_teacher": (teachers[first] == ids[second]) | (teachers[second] == ids[first]),
        }
        matrices: dict[str, Floats | None] = dict.fromkeys(("reproducibility", "kappa", "soft_agreement"))
        if planes.same_points is not None:
            same = planes.same_points.by_pair(rows, later)
            matrices |= {"reproducibility": same, "kappa": beyond_chance(same, shares[rows] @ shares[later].T)}
        if planes.soft_agreement is not None:
            matrices["soft_agreement"] = planes.soft_agreement.by_pair(rows, later)
        on_test = predictions.same_on_test.by_pair(rows, later)
        matrices["agreement_on_test_images"] = on_test
        matrices["capa"] = beyond_chance(on_test, of_accuracies(right[rows], right[later], classes))
        of_pairs = {name: np.nan if matrix is None else matrix[one, other] for name, matrix in matrices.items()}
        yield pd.DataFrame({**columns, **of_pairs, "n_planes": planes.planes})


MAX_GROUPS = 40
"""Groups of one label noise that are compared: 780 pairs, which one picture can show."""
MAX_SINGLY = 16
"""As `dbviz_ray.analysis.scores.groups.MAX_SINGLY_ON_PLANES`, but of many more pairs."""

SIDE = ["n_models", *(column for column in GROUP if column != "label_noise")]
SIDES = ["label_noise", *(f"{column}_{side}" for side in "ab" for column in SIDE)]
BETWEEN = [*SIDES, *columns_of("reproducibility", covers=True), "n_planes"]


def between_sets(groups: Sequence[Group]) -> list[PairSet]:
    """The sets of pairs that `between_groups` needs."""
    return [_pairs_of(a, b) for a, b in _compared(groups)]


def between_groups_table(scored: Scored) -> pd.DataFrame:
    """One row for every two groups of equal label noise, averaged over all pairs of their models.

    These include pairs with equal seeds, which in networks of one architecture start from the same weights.
    """
    same, rows = scored.planes.same_points, []
    if same is None:
        return pd.DataFrame(columns=BETWEEN)
    for a, b in _compared(scored.compared):
        pairs, by_pair = _pairs_of(a, b), same.by_pair(a.members, b.members)
        each = same.each_on_planes(pairs).reshape(-1, *by_pair.shape) if pairs.singly else None
        interval = interval_of(cross_pair_estimate(by_pair, same.on_planes(pairs), each), SHARE)
        rows.append(_sides(a, b) | with_covers("reproducibility", interval) | {"n_planes": scored.planes.planes})
    return pd.DataFrame(rows, columns=BETWEEN)


def _compared(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Every two groups of equal label noise, except where one label noise has more than `MAX_GROUPS` groups."""
    by_noise: dict[float, list[Group]] = {}
    for group in groups:
        by_noise.setdefault(group.key["label_noise"], []).append(group)
    for alike in by_noise.values():
        if len(alike) <= MAX_GROUPS:
            yield from itertools.combinations(alike, 2)


def _pairs_of(a: Group, b: Group) -> PairSet:
    return PairSet(a.members, b.members, singly=max(len(a.members), len(b.members)) <= MAX_SINGLY)


def _sides(a: Group, b: Group) -> dict[str, Any]:
    """The columns that name two groups of equal label noise."""
    row = {"label_noise": a.key["label_noise"]}
    for side, group in (("a", a), ("b", b)):
        about = {"n_models": len(group.members), **group.key}
        row |= {f"{column}_{side}": about[column] for column in SIDE}
    return row


MARGINS_BY_LABEL = ("margin_correct", "margin_mislabelled")
"""Scores of images chosen by their labels: comparable only if the same labels are wrong."""
DIFFERENCES = [
    "score", *SIDES, "value_a", "value_b", *columns_of("difference", "ratio"),
    "p_value", "p_value_holm", "interval_covers",
]  # fmt: skip


def differences_table(scored: Scored) -> pd.DataFrame:
    """One row for each score and every two groups of equal label noise; for the test error, of learning rates too.

    Intervals are over the trainings of both and over their common planes or images, pairwise. Scores of images have the
    same rows in every plane set.
    """
    rows: list[dict[str, Any]] = []
    observed = scored.observed
    of_margins = None if observed.margins is None else observed.margins.mislabelled
    chosen = dict.fromkeys(MARGINS_BY_LABEL, of_margins) | {"false_labels_learned": observed.predictions.false_labels}
    chosen["train_error"] = observed.predictions.trained_on
    for a, b in _compared(scored.compared):
        of_a, of_b = scored.estimates[a], scored.estimates[b]
        known = [s for s in SCORES if s in of_a and s in of_b and _same_images(a, b, chosen.get(s))]
        rows += [scored.once(score, (score, a, b), _difference, score, a, b, scored) for score in known]
    if scored.compared:
        for a, b in itertools.combinations(scored.groups, 2):
            if a.key | {"learning_rate": b.key["learning_rate"]} == b.key:
                rows.append(_difference("test_error", a, b, scored))
    table = pd.DataFrame(rows, columns=DIFFERENCES)
    for _, p_values in table.groupby("score")["p_value"]:
        table.loc[p_values.index, "p_value_holm"] = holm(p_values.to_numpy())
    return table


def difference_of(table: pd.DataFrame, score: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """How much larger a score of group `a` is than that of `b`, rows of `groups`: columns of `differences`, or none."""
    own = [column for column in SIDE if column in GROUP]
    columns = ["score", "plane_set", "label_noise", *(f"{column}_{side}" for side in "ab" for column in own)]
    for first, second, sign in ((a, b, 1), (b, a, -1)):
        wanted = [score, a["plane_set"], a["label_noise"], *(row[column] for row in (first, second) for column in own)]
        for row in records(table[(table[columns] == wanted).all(axis=1)]):
            low, high = sorted((sign * row["difference_low"], sign * row["difference_high"]))
            ends = {"difference": sign * row["difference"], "difference_low": low, "difference_high": high}
            return row | ends | {"difference_interval_covers": row["interval_covers"]}
    return {}


def _same_images(a: Group, b: Group, chosen: NDArray[np.bool_] | None) -> bool:
    """Whether the same images are `chosen`, `[models, images]`, in all trainings of both groups (or None)."""
    if chosen is None:
        return True
    of_both = chosen[np.concatenate([a.members, b.members])]
    return bool((of_both == of_both[0]).all())


def _difference(score: str, a: Group, b: Group, scored: Scored) -> dict[str, Any]:
    of_a, of_b = scored.estimates[a][score], scored.estimates[b][score]
    estimate = difference(of_a, of_b)
    interval = interval_of(estimate)
    ratio = ratio_interval(of_a, of_b) if min(of_a.value, of_b.value) > 0 else None
    return {
        "score": score,
        **_sides(a, b),
        "value_a": of_a.value,
        "value_b": of_b.value,
        **value_and_ends("difference", interval),
        **value_and_ends("ratio", ratio),
        "p_value": p_value(estimate),
        "interval_covers": covers_text(interval, score),
    }
