"""The tables of two models or groups: `pairs`, `between_groups` (the paper's Figure 4) and `differences`."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..scores.agreement import Floats, agreement, beyond_accuracy, cohens_kappa
from ..scores.group_scores import SCORES, SHARE
from ..scores.groups import GROUP, Group
from ..scores.plane_scores import PairSet, pairs_between
from ..scores.trained import Margins
from ..statistics.estimates import Estimate, cross_pair_estimate, difference
from ..statistics.intervals import holm, interval_of, p_value, ratio_interval
from .files import NAN, covers_text, ends, with_covers
from .scored import Scored


def pairs_table(scored: Scored) -> pd.DataFrame:
    """One row for every two models.

    `agreement_beyond_accuracy` is their agreement on the test images beyond what their errors explain (see
    `dbviz_ray.analysis.scores.agreement`).
    """
    models, planes, predictions = scored.configs, scored.planes, scored.observed.predictions
    first, second = np.triu_indices(len(models), 1)
    ids = np.array([model.model_id for model in models])
    teachers = np.array([model.teacher or "" for model in models])
    number = np.empty(len(models), dtype=int)
    for index, group in enumerate(scored.groups):
        number[group.members] = index
    columns = {
        "model_a": ids[first],
        "model_b": ids[second],
        "epoch_a": np.array(scored.epochs)[first],
        "epoch_b": np.array(scored.epochs)[second],
        "same_group": number[first] == number[second],
        "student_and_teacher": (teachers[first] == ids[second]) | (teachers[second] == ids[first]),
    }
    matrices: dict[str, Floats | None] = dict.fromkeys(("reproducibility", "kappa", "soft_agreement"))
    if planes.same_points is not None:
        same, shares = planes.same_points.by_pair, planes.class_shares.mean(axis=1, dtype=float, keepdims=True)
        matrices |= {"reproducibility": same, "kappa": cohens_kappa(same, shares)}
    if planes.soft_agreement is not None:
        matrices["soft_agreement"] = planes.soft_agreement.by_pair
    on_test, classes = agreement(predictions.on_test[:, None])[0], planes.class_shares.shape[2]
    matrices["agreement_on_test_images"] = on_test
    matrices["agreement_beyond_accuracy"] = beyond_accuracy(on_test, predictions.test_wrong, classes)
    of_pairs = {name: np.nan if matrix is None else matrix[first, second] for name, matrix in matrices.items()}
    return pd.DataFrame({**columns, **of_pairs, "n_planes": planes.planes})


MAX_GROUPS = 40
"""Groups of one label noise that are compared: 780 pairs, which one picture can show."""
MAX_SINGLY_BETWEEN = 16

SIDE = ["n_models", *(column for column in GROUP if column != "label_noise")]
BETWEEN = [
    "label_noise", *(f"{column}_{side}" for side in "ab" for column in SIDE),
    "reproducibility", "reproducibility_low", "reproducibility_high", "reproducibility_interval_covers", "n_planes",
]  # fmt: skip


def compared(groups: Sequence[Group]) -> Iterator[tuple[Group, Group]]:
    """Every two groups of equal label noise, except where one label noise has more than `MAX_GROUPS` groups."""
    by_noise: dict[float, list[Group]] = {}
    for group in groups:
        by_noise.setdefault(group.key["label_noise"], []).append(group)
    for alike in by_noise.values():
        if len(alike) <= MAX_GROUPS:
            for index, group in enumerate(alike):
                for other in alike[index + 1 :]:
                    yield group, other


def sides(group: Group, other: Group) -> dict[str, Any]:
    """The columns that name two groups of equal label noise."""
    named = {
        f"{column}_{side}": of[column] for side, of in (("a", _side(group)), ("b", _side(other))) for column in SIDE
    }
    return {"label_noise": group.key["label_noise"], **named}


def between_sets(groups: Sequence[Group]) -> dict[Hashable, PairSet]:
    """The sets of pairs that the table needs."""
    return {
        _between_key(a, b): pairs_between(a.members, b.members, singly=_followed_singly(a, b))
        for a, b in compared(groups)
    }


def between_groups_table(scored: Scored) -> pd.DataFrame:
    """One row for every two groups of equal label noise, averaged over all pairs of their models.

    These include pairs with equal seeds, which in networks of one architecture start from the same weights.
    """
    if scored.planes.same_points is None:
        return pd.DataFrame(columns=BETWEEN)
    same, rows = scored.planes.same_points, []
    for a, b in compared(scored.compared):
        by_pair, on_planes = same.by_pair[np.ix_(a.members, b.members)], same.on_planes(_between_key(a, b))
        each = same.each_on_planes(_between_key(a, b)).reshape(-1, *by_pair.shape) if _followed_singly(a, b) else None
        interval = interval_of(cross_pair_estimate(by_pair, on_planes, each), SHARE)
        rows.append(sides(a, b) | with_covers("reproducibility", interval) | {"n_planes": scored.planes.planes})
    return pd.DataFrame(rows, columns=BETWEEN)


def _side(group: Group) -> dict[str, Any]:
    return {**group.key, "n_models": len(group.members)}


def _followed_singly(group: Group, other: Group) -> bool:
    """See `dbviz_ray.analysis.scores.group_scores.MAX_SINGLY`; here there are many more pairs."""
    return max(len(group.members), len(other.members)) <= MAX_SINGLY_BETWEEN


def _between_key(group: Group, other: Group) -> Hashable:
    return ("between", tuple(group.key.values()), tuple(other.key.values()))


BY_LABEL = ("margin_correct", "margin_mislabelled")
"""Scores of images chosen by their labels: comparable only if the same labels are wrong."""
DIFFERENCES = [
    "score", "label_noise", *(f"{column}_{side}" for side in "ab" for column in SIDE), "value_a", "value_b",
    "difference", "difference_low", "difference_high", "ratio", "ratio_low", "ratio_high",
    "p_value", "p_value_holm", "interval_covers",
]  # fmt: skip


def differences_table(scored: Scored) -> pd.DataFrame:
    """One row for each score and every two groups of equal label noise.

    The difference (a - b) and the ratio (a / b, for positive scores) have intervals over the trainings of both groups
    and over their common planes or images, pairwise. `p_value_holm` is corrected for all rows of its score and plane
    set. Scores of images have the same rows in every plane set.
    """
    rows: list[dict[str, Any]] = []
    margins = scored.observed.margins
    for a, b in compared(scored.compared):
        of_a, of_b = scored.estimates[a], scored.estimates[b]
        known = [s for s in SCORES if s in of_a and s in of_b and (s not in BY_LABEL or _same_labels(a, b, margins))]
        rows += [{"score": score, **sides(a, b), **_difference(of_a[score], of_b[score])} for score in known]
    table = pd.DataFrame(rows, columns=DIFFERENCES)
    for score in table["score"].unique():
        known = table.index[(table["score"] == score) & table["p_value"].notna()]
        table.loc[known, "p_value_holm"] = holm(table.loc[known, "p_value"].to_numpy())
    return table


def _same_labels(a: Group, b: Group, margins: Margins | None) -> bool:
    """Whether the same images are mislabelled in all trainings of both groups."""
    if margins is None:
        return False
    mislabelled = margins.mislabelled[np.concatenate([a.members, b.members])]
    return bool((mislabelled == mislabelled[0]).all())


def _difference(of_a: Estimate, of_b: Estimate) -> dict[str, Any]:
    estimate = difference(of_a, of_b)
    interval = interval_of(estimate)
    ratio = ratio_interval(of_a, of_b) if min(of_a.value, of_b.value) > 0 else None
    return {
        "value_a": of_a.value,
        "value_b": of_b.value,
        "difference": interval.value,
        **ends("difference", interval),
        "ratio": ratio.value if ratio else NAN,
        **ends("ratio", ratio),
        "p_value": p_value(estimate),
        "interval_covers": covers_text(interval),
    }
