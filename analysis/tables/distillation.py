"""The table `distillation`: how much students agree with their teachers, and models trained alone with these."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from dbviz_ray.config import ModelConfig

from ..scores.group_scores import SHARE
from ..scores.groups import NAMING, NETWORK, Group
from ..scores.pair_means import PairSet, pairs_within
from ..statistics.estimates import cross_pair_estimate, difference, mean_estimate, pair_estimate
from ..statistics.intervals import interval_of
from .scored import Scored, columns_of, with_covers

DISTILLATION = [
    "label_noise", *(f"{role}_{column}" for role in ("student", "teacher", "control") for column in NAMING),
    *columns_of("student_agreement", "control_agreement", "difference", covers=True),
    "same_start", "n_students", "n_teachers", "n_controls", "n_planes",
]  # fmt: skip


def distillation_sets(models: Sequence[ModelConfig], groups: Sequence[Group]) -> list[PairSet]:
    """The sets of pairs that the table needs: each student with its teacher, and controls with teachers."""
    return [pairs for _, *sets in _lessons(models, groups) for pairs in sets]


def distillation_table(scored: Scored) -> pd.DataFrame:
    """One row for each group of students, with the groups of their teachers and of their controls.

    Controls are models of the students' network and label noise that were trained alone. A student's teacher is never
    its control: teachers are left out of the controls, or, if all controls are teachers, these are compared with one
    another. `same_start` tells that students start from their teachers' initial weights, which controls do not; this
    may make them alike without distillation.
    """
    same, rows = scored.planes.same_points, []
    if same is None:
        return pd.DataFrame(columns=DISTILLATION)
    starts = [(model.architecture, model.options, model.width, model.seeds.init) for model in scored.configs]
    for of_role, taught, control_pairs in _lessons(scored.configs, scored.groups):
        row: dict[str, Any] = {"label_noise": of_role["student"].key["label_noise"]}
        row |= {f"{role}_{column}": group.key[column] for role, group in of_role.items() for column in NAMING}
        students = mean_estimate(same.each_on_planes(taught).T)
        mean_of = pair_estimate if control_pairs.every_two else cross_pair_estimate  # among teachers, or with these
        controls = mean_of(same.by_pair(control_pairs.members, control_pairs.others), same.on_planes(control_pairs))
        row |= with_covers("student_agreement", interval_of(students, SHARE))
        row |= with_covers("control_agreement", interval_of(controls, SHARE))
        row |= with_covers("difference", interval_of(difference(students, controls)))
        row |= {
            "same_start": any(starts[one] == starts[other] for one, other in zip(*taught.sides, strict=True)),
            "n_students": taught.size,
            "n_teachers": len(taught.others),
            "n_controls": len(of_role["control"].members),
            "n_planes": scored.planes.planes,
        }
        rows.append(row)
    return pd.DataFrame(rows, columns=DISTILLATION)


def _lessons(
    models: Sequence[ModelConfig], groups: Sequence[Group]
) -> Iterator[tuple[dict[str, Group], PairSet, PairSet]]:
    """Students, their teachers and controls by role; each student with its teacher; controls with teachers.

    Controls are the students' network, trained alone. Without those that are teachers; where all are, the last set
    pairs teachers with one another.
    """
    places = {model.model_id: place for place, model in enumerate(models)}
    group_at = {place: group for group in groups for place in group.members.tolist()}
    for students in groups:
        by_teachers: dict[Group, list[tuple[int, int]]] = {}
        for student in students.members.tolist():
            teacher = places.get(models[student].teacher or "")
            if teacher is not None:
                by_teachers.setdefault(group_at[teacher], []).append((student, teacher))
        for teachers, taught in by_teachers.items():
            first, second = np.array(taught, dtype=np.intp).T
            taught_by = np.unique(second)
            own = PairSet(first, taught_by, second[:, None] == taught_by, singly=True)
            for controls in groups:
                alike = all(controls.key[column] == students.key[column] for column in (*NETWORK, "label_noise"))
                alone, others = models[controls.members[0]].teacher is None, np.setdiff1d(controls.members, taught_by)
                pairs = PairSet(taught_by, others) if len(others) else pairs_within(taught_by)
                if alike and alone and pairs.size:
                    yield {"student": students, "teacher": teachers, "control": controls}, own, pairs
