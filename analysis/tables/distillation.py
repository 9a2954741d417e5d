"""The table `distillation`: how much students agree with their teachers, and models trained alone with these."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dbviz_ray.config import ModelConfig

from ..scores.group_scores import SHARE
from ..scores.groups import NETWORK, Group
from ..scores.plane_scores import PairMeans, PairSet, pairs_between, pairs_within
from ..statistics.estimates import Estimate, cross_pair_estimate, mean_estimate, pair_estimate
from ..statistics.intervals import interval_of
from .files import with_covers
from .scored import Scored

ROLE = ["architecture", "options", "width", "recipe", "learning_rate"]
DISTILLATION = [
    "label_noise", *(f"{role}_{column}" for role in ("student", "teacher", "control") for column in ROLE),
    *(f"{kind}_agreement{end}" for kind in ("student", "control") for end in ("", "_low", "_high", "_interval_covers")),
    "same_start", "n_students", "n_teachers", "n_controls", "n_planes",
]  # fmt: skip


@dataclass(frozen=True)
class _Lesson:
    """A group of students, the group of their teachers, and a control group: the students' network, trained alone."""

    students: Group
    teachers: Group
    controls: Group
    taught: tuple[tuple[int, int], ...]
    """Places of each student and its teacher."""

    @property
    def taught_by(self) -> NDArray[np.intp]:
        """Places of the teachers."""
        return np.unique([teacher for _, teacher in self.taught]).astype(np.intp)

    @property
    def others(self) -> NDArray[np.intp]:
        """Places of the controls that are no teachers."""
        return np.setdiff1d(self.controls.members, self.taught_by)

    @property
    def taught_key(self) -> Hashable:
        return ("taught", *(tuple(group.key.values()) for group in (self.students, self.teachers)))

    @property
    def taught_pairs(self) -> PairSet:
        students, teachers = np.array(self.taught, dtype=np.intp).T
        return PairSet(students, teachers, singly=True)

    @property
    def control_key(self) -> Hashable:
        return ("controls", *(tuple(group.key.values()) for group in (self.students, self.teachers, self.controls)))

    @property
    def control_pairs(self) -> PairSet:
        """Controls with teachers; where all controls are teachers, teachers with one another."""
        return pairs_between(self.taught_by, self.others) if len(self.others) else pairs_within(self.taught_by)


def distillation_sets(models: Sequence[ModelConfig], groups: Sequence[Group]) -> dict[Hashable, PairSet]:
    """The sets of pairs that the table needs: each student with its teacher, and controls with teachers."""
    sets: dict[Hashable, PairSet] = {}
    for lesson in _lessons(models, groups):
        sets[lesson.control_key] = lesson.control_pairs
        sets[lesson.taught_key] = lesson.taught_pairs
    return sets


def distillation_table(scored: Scored) -> pd.DataFrame:
    """One row for each group of students, with the groups of their teachers and of their controls.

    Controls are models of the students' network and label noise that were trained alone. A student's teacher is never
    its control: teachers are left out of the controls, or, if all controls are teachers, these are compared with one
    another. `same_start` tells that students start from their teachers' initial weights, which controls do not; this
    may make them alike without distillation.
    """
    models, scores = scored.configs, scored.planes
    if scores.same_points is None:
        return pd.DataFrame(columns=DISTILLATION)
    same, rows = scores.same_points, []
    for lesson in _lessons(models, scored.groups):
        students = mean_estimate(same.each_on_planes(lesson.taught_key).T)
        row: dict[str, Any] = {"label_noise": lesson.students.key["label_noise"]}
        for role, group in (("student", lesson.students), ("teacher", lesson.teachers), ("control", lesson.controls)):
            row |= {f"{role}_{column}": group.key[column] for column in ROLE}
        row |= with_covers("student_agreement", interval_of(students, SHARE))
        row |= with_covers("control_agreement", interval_of(_control_estimate(lesson, same), SHARE))
        row["same_start"] = any(_same_start(models[student], models[teacher]) for student, teacher in lesson.taught)
        counts = (len(lesson.taught), len(lesson.taught_by), len(lesson.controls.members), scores.planes)
        rows.append(row | dict(zip(("n_students", "n_teachers", "n_controls", "n_planes"), counts, strict=True)))
    return pd.DataFrame(rows, columns=DISTILLATION)


def _lessons(models: Sequence[ModelConfig], groups: Sequence[Group]) -> Iterator[_Lesson]:
    """Every lesson with a pair of a control and a teacher, or of two teachers."""
    places = {model.model_id: place for place, model in enumerate(models)}
    group_at = {place: group for group in groups for place in group.members.tolist()}
    for students in groups:
        by_teachers: dict[int, list[tuple[int, int]]] = {}
        for student in students.members.tolist():
            teacher = places.get(models[student].teacher or "")
            if teacher is not None:
                by_teachers.setdefault(id(group_at[teacher]), []).append((student, teacher))
        for taught in by_teachers.values():
            for controls in groups:
                alike = all(controls.key[column] == students.key[column] for column in (*NETWORK, "label_noise"))
                lesson = _Lesson(students, group_at[taught[0][1]], controls, tuple(taught))
                undistilled = models[controls.members[0]].teacher is None
                if alike and undistilled and len(lesson.control_pairs):
                    yield lesson


def _same_start(student: ModelConfig, teacher: ModelConfig) -> bool:
    """Whether two models start from the same weights."""
    return (student.architecture, student.options, student.width, student.seeds.init) == (
        teacher.architecture,
        teacher.options,
        teacher.width,
        teacher.seeds.init,
    )


def _control_estimate(lesson: _Lesson, same: PairMeans) -> Estimate:
    teachers, others, on_planes = lesson.taught_by, lesson.others, same.on_planes(lesson.control_key)
    if len(others):
        return cross_pair_estimate(same.by_pair[np.ix_(teachers, others)], on_planes)
    return pair_estimate(same.by_pair[np.ix_(teachers, teachers)], on_planes)
