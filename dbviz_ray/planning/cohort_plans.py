"""What training each cohort would take, and which waits for which."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dbviz_ray.config import Cohort
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.planning.makespan import Job
from dbviz_ray.planning.sizes import evaluation_flops, longest_first, step_flops, training_flops
from dbviz_ray.planning.step_times import StepTimes


@dataclass(frozen=True)
class CohortPlan:
    """One cohort's share of a plan."""

    name: str
    members: int
    flops: float
    """Of its whole training."""
    seconds: float
    """On one worker: a GPU, or what `cpus_per_cohort` says."""
    after: tuple[int, ...]
    """Places in the plan of the cohorts that hold its members' teachers."""

    @property
    def job(self) -> Job:
        """For the simulation of many workers."""
        return Job(self.seconds, self.after)


def cohort_plans(cohorts: Sequence[Cohort], data: DatasetFacts, times: StepTimes) -> list[CohortPlan]:
    """A plan for each cohort, in the order in which they are trained."""
    ordered = longest_first(cohorts, data)
    place_of = {model.model_id: place for place, cohort in enumerate(ordered) for model in cohort.models}
    return [_cohort_plan(cohort, data, times, place_of) for cohort in ordered]


def _cohort_plan(cohort: Cohort, data: DatasetFacts, times: StepTimes, place_of: dict[str, int]) -> CohortPlan:
    model, settings = cohort.models[0], cohort.models[0].training
    steps = settings.epochs * math.ceil(data.train_images / settings.batch_size)
    of_step = step_flops(cohort.models, data, min(settings.batch_size, data.train_images))
    of_tests = evaluation_flops(cohort.models, data)
    recipe = "" if len({m.recipe for m in cohort.models}) > 1 or model.recipe == "default" else f" {model.recipe}"
    return CohortPlan(
        name=f"{model.architecture} {model.width}{recipe}",
        members=len(cohort.models),
        flops=training_flops(cohort.models, data),
        seconds=steps * times.seconds(model.architecture, of_step) + of_tests / times.flops_rate,
        after=tuple(sorted({place_of[member.teacher] for member in cohort.models if member.teacher is not None})),
    )
