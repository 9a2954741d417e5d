"""What work on models costs, relative to one another, for the estimate of the time that is left.

An operation of a small network takes more time than one of a large one, since much else happens for every image. As so
many operations that time is counted here: in the digits sweep of double descent (widths 2 to 512, on CPUs) the
estimates were then closest to the truth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dbviz_ray.config import Cohort
from dbviz_ray.networks import DatasetFacts, facts_of, passes_of_a_step
from dbviz_ray.progress import Amount
from dbviz_ray.tasks import Task, What
from dbviz_ray.work import Work

OPERATIONS_BESIDE_AN_IMAGE = 30_000
"""In training, on every pass."""
OPERATIONS_BESIDE_A_POINT = 10_000


def training_amounts(cohorts: Iterable[Cohort], data: DatasetFacts) -> dict[str, Amount]:
    """The epochs of every model."""
    amounts = {}
    for cohort in cohorts:
        model = cohort.models[0]
        settings = model.training
        images = data.train_images * passes_of_a_step(model) + data.test_images / settings.evaluate_every
        cost = images * (facts_of(model, data).forward_flops + OPERATIONS_BESIDE_AN_IMAGE)
        amounts.update({member.model_id: Amount(settings.epochs, cost) for member in cohort.models})
    return amounts


def evaluation_amounts(tasks: Iterable[Task], work: Mapping[What, Work], data: DatasetFacts) -> dict[str, Amount]:
    """The points of every model's tasks."""
    points: Counter[str] = Counter()
    models = {}
    for task in tasks:
        models[task.model.model_id] = task.model
        points[task.model.model_id] += work[task.what].points
    return {
        model_id: Amount(points[model_id], facts_of(model, data).forward_flops + OPERATIONS_BESIDE_A_POINT)
        for model_id, model in models.items()
    }
