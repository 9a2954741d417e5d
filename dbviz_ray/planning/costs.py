"""Relative costs of training and evaluating models, for the estimate of the remaining time.

A batch costs its floating-point operations plus `CALL_FLOPS` for each call of a tensor operation; calls dominate in
small networks with many layers. This value gave the closest estimates on CPUs, in the digits sweeps of double descent,
architectures and optimizers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from dbviz_ray.config import Cohort, ModelConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.evaluation.work import Task, What, Work
from dbviz_ray.planning.sizes import facts_of, passes_of_a_step
from dbviz_ray.terminal.progress import Amount

CALL_FLOPS = 1e6
LABELLED_TOGETHER = 1000
"""Points in a batch."""


def training_amounts(cohorts: Iterable[Cohort], data: DatasetFacts) -> dict[str, Amount]:
    """The epochs of every model."""
    amounts = {}
    for cohort in cohorts:
        model = cohort.models[0]
        settings = model.training
        images = data.train_images * passes_of_a_step(model) + data.test_images / settings.evaluate_every
        cost = images * _image_cost(model, data, min(settings.batch_size, data.train_images))
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
        model_id: Amount(points[model_id], _image_cost(model, data, LABELLED_TOGETHER))
        for model_id, model in models.items()
    }


def _image_cost(model: ModelConfig, data: DatasetFacts, batch: int) -> float:
    """Cost of one image's forward pass in a batch of `batch` images."""
    facts = facts_of(model, data)
    return facts.forward_flops + facts.forward_calls * CALL_FLOPS / batch
