"""The tables that compare models: by pair, between groups, and students with their teachers; for one plane set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.groups import GROUP, NETWORK
from analysis.intervals import Interval, cross_pair_interval, mean_interval, pair_interval
from analysis.rows import covers_text
from analysis.scores import PlaneScores
from dbviz_ray.config import ModelConfig

MAX_GROUPS = 40
"""Groups of one label noise that are compared with one another: 780 pairs, and what one picture can show."""

SIDE = ["n_models", *(column for column in GROUP if column != "label_noise")]
BETWEEN = [
    "label_noise", *(f"{column}_{side}" for side in "ab" for column in SIDE),
    "reproducibility", "reproducibility_low", "reproducibility_high", "reproducibility_interval_covers", "n_planes",
]  # fmt: skip
ROLE = ["architecture", "options", "width", "recipe", "learning_rate"]
DISTILLATION = [
    "label_noise", *(f"{role}_{column}" for role in ("student", "teacher", "control") for column in ROLE),
    *(f"{kind}_agreement{end}" for kind in ("student", "control") for end in ("", "_low", "_high", "_interval_covers")),
    "same_start", "n_students", "n_teachers", "n_controls", "n_planes",
]  # fmt: skip


def pairs_table(
    models: Sequence[ModelConfig], groups: pd.DataFrame, scores: PlaneScores, on_test: NDArray[np.float64]
) -> pd.DataFrame:
    """One row a pair; `groups` and the arrays have the models in the same order, `on_test` `[models, models]`."""
    first, second = np.triu_indices(len(models), 1)
    ids = np.array([model.model_id for model in models])
    teachers = np.array([model.teacher or "" for model in models])
    number = groups.groupby(GROUP, sort=False).ngroup().to_numpy()
    same_points = None if scores.same_points is None else scores.same_points.mean(axis=0)
    return pd.DataFrame(
        {
            "model_a": ids[first],
            "model_b": ids[second],
            "epoch_a": groups["epoch"].to_numpy()[first],
            "epoch_b": groups["epoch"].to_numpy()[second],
            "same_group": number[first] == number[second],
            "student_and_teacher": (teachers[first] == ids[second]) | (teachers[second] == ids[first]),
            "reproducibility": np.nan if same_points is None else same_points[first, second],
            "agreement_on_test_images": on_test[first, second],
            "n_planes": scores.planes,
        }
    )


def between_groups_table(
    groups: pd.DataFrame, members: Sequence[NDArray[np.intp]], scores: PlaneScores
) -> pd.DataFrame:
    """One row a pair of groups of equal label noise, averaged over all pairs of their models; the paper's Figure 4.

    Pairs with the same seeds are among them: networks of one architecture then start from the same weights.
    """
    rows = []
    by_noise: dict[float, list[NDArray[np.intp]]] = {}
    for places in members:
        by_noise.setdefault(groups["label_noise"].iloc[places[0]], []).append(places)
    for label_noise, alike in by_noise.items():
        if scores.same_points is None or len(alike) > MAX_GROUPS:
            continue
        for index, of_a in enumerate(alike):
            for of_b in alike[index + 1 :]:
                interval = cross_pair_interval(scores.same_points[:, of_a[:, None], of_b])
                row: dict[str, Any] = {"label_noise": label_noise}
                for side, places in zip("ab", (of_a, of_b), strict=True):
                    group = {**groups.iloc[places[0]], "n_models": len(places)}
                    row |= {f"{column}_{side}": group[column] for column in SIDE}
                rows.append(row | _columns("reproducibility", interval) | {"n_planes": scores.planes})
    return pd.DataFrame(rows, columns=BETWEEN)


def distillation_table(
    models: Sequence[ModelConfig], groups: pd.DataFrame, members: Sequence[NDArray[np.intp]], scores: PlaneScores
) -> pd.DataFrame:
    """How far students agree with their own teachers, beside how far undistilled models agree with these teachers.

    One row a group of students, group of their teachers, and control group: undistilled models of the students'
    network and label noise. A student's teacher is never its own control: controls that are teachers are left out,
    or, where all are, the teachers are compared with one another. `same_start` tells that students start from their
    teachers' initial weights, as their controls do not, which may make them alike without any distillation.
    """
    same_points = scores.same_points
    if same_points is None:
        return pd.DataFrame(columns=DISTILLATION)
    places = {model.model_id: index for index, model in enumerate(models)}
    number = groups.groupby(GROUP, sort=False).ngroup().to_numpy()
    rows = []
    for of_group in members:
        teacher_ids = [(student, models[student].teacher or "") for student in of_group]
        taught = [(student, places[teacher]) for student, teacher in teacher_ids if teacher in places]
        for teacher_group in dict.fromkeys(number[teacher] for _, teacher in taught):
            pairs = np.array([pair for pair in taught if number[pair[1]] == teacher_group])
            students = mean_interval(same_points[:, pairs[:, 0], pairs[:, 1]].T, bounds=(0, 1))
            teachers = np.unique(pairs[:, 1])
            for controls in _control_groups(models, groups, members, of_group[0]):
                alone = _control_interval(same_points, teachers, controls)
                if alone is None:
                    continue
                row: dict[str, Any] = {"label_noise": groups["label_noise"].iloc[of_group[0]]}
                for role, place in (("student", of_group[0]), ("teacher", teachers[0]), ("control", controls[0])):
                    row |= {f"{role}_{column}": groups[column].iloc[place] for column in ROLE}
                row |= _columns("student_agreement", students) | _columns("control_agreement", alone)
                row["same_start"] = any(_same_start(models[student], models[teacher]) for student, teacher in pairs)
                counts = {"n_students": len(pairs), "n_teachers": len(teachers), "n_controls": len(controls)}
                rows.append(row | counts | {"n_planes": scores.planes})
    return pd.DataFrame(rows, columns=DISTILLATION)


def _same_start(student: ModelConfig, teacher: ModelConfig) -> bool:
    """Whether two models start from the same weights."""
    return (student.architecture, student.options, student.width, student.seeds.init) == (
        teacher.architecture,
        teacher.options,
        teacher.width,
        teacher.seeds.init,
    )


def _control_groups(
    models: Sequence[ModelConfig], groups: pd.DataFrame, members: Sequence[NDArray[np.intp]], student: int
) -> Iterator[NDArray[np.intp]]:
    """Groups of undistilled models of the same network and label noise as the model at `student`."""
    wanted = [*NETWORK, "label_noise"]
    for of_group in members:
        same = (groups[wanted].iloc[of_group[0]] == groups[wanted].iloc[student]).all()
        if same and models[of_group[0]].teacher is None:
            yield of_group


def _control_interval(
    same_points: NDArray[np.float64], teachers: NDArray[np.intp], controls: NDArray[np.intp]
) -> Interval | None:
    """Agreement of controls with teachers; None if there is no pair of different models."""
    others = np.setdiff1d(controls, teachers)
    if len(others):
        return cross_pair_interval(same_points[:, teachers[:, None], others])
    if len(teachers) > 1:
        return pair_interval(same_points[:, teachers[:, None], teachers])
    return None


def _columns(score: str, interval: Interval) -> dict[str, Any]:
    return {
        score: interval.value,
        f"{score}_low": interval.low,
        f"{score}_high": interval.high,
        f"{score}_interval_covers": covers_text(interval),
    }
