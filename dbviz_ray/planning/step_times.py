"""Trainings of a few steps on random images: whether networks train at all, and how long a step takes."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from dbviz_ray.config import Cohort, ResourcesConfig
from dbviz_ray.config.registry import ARCHITECTURES
from dbviz_ray.datasets import Dataset, DatasetFacts
from dbviz_ray.evaluation.label_maps import computing_threads
from dbviz_ray.planning.sizes import NetworkShape, call_flops, facts_of, longest_first, refused_in_one_line, step_flops
from dbviz_ray.training.cohort import CohortTraining, train_cohort
from dbviz_ray.training.ordinary import ORDINARY

BUDGET_SECONDS = 20.0
EPOCHS, MOST_STEPS = 3, 50
"""Epochs that are measured, and the most steps of one."""
FIRST_GUESS_FLOPS = {"cpu": 2e10, "cuda": 1e13}
"""A second, of one core or a GPU: what is expected of the first measurement, so that it does not take minutes."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a step over its floating-point operations, for each architecture that was measured."""

    curves: dict[str, list[tuple[float, float]]]
    """Architecture to (operations, seconds) of single steps, ascending."""
    flops_rate: float
    """Operations a second of the most efficient step."""
    measurements: int

    @classmethod
    def assumed(cls, flops_rate: float, overhead: float) -> Self:
        """A machine on which a step takes `overhead` seconds and its operations at a rate."""
        operations = np.geomspace(1, 1e18, 200)
        return cls({"": [(x, overhead + x / flops_rate) for x in operations]}, flops_rate, 0)

    def seconds(self, architecture: str, operations: float) -> float:
        """Of one step: between measurements by logarithms, beyond the largest at the rate of the most efficient.

        An architecture that was not measured has the curve of all that were.
        """
        curve = self.curves.get(architecture) or sorted(point for points in self.curves.values() for point in points)
        known, seconds = np.array(curve).T
        if operations > known[-1]:
            return float(seconds[-1] + (operations - known[-1]) / self.flops_rate)
        return float(np.exp(np.interp(np.log(operations), np.log(known), np.log(seconds))))


def measured_step_times(
    cohorts: Sequence[Cohort], data: DatasetFacts, device: torch.device, resources: ResourcesConfig
) -> StepTimes:
    """Time the cheapest, the middle and the dearest cohort of every architecture, within `BUDGET_SECONDS`.

    Random images of the data set's shape; a distilled model without its teacher. A step that would take too long is
    measured on fewer images, and left out if not even two images of each member are quick enough. Quick steps are
    measured in epochs of several, as many as real ones have if time allows, and so have their share of what an epoch
    costs beside its steps.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    guess = FIRST_GUESS_FLOPS[device.type]
    started, rate = time.perf_counter(), guess
    by_architecture: dict[str, list[tuple[float, Cohort]]] = {}
    for cohort in cohorts:
        operations = step_flops(cohort.models, data, images=1)
        by_architecture.setdefault(cohort.models[0].architecture, []).append((operations, cohort))
    for architecture, found in by_architecture.items():
        found.sort(key=lambda pair: pair[0])
        budget = (BUDGET_SECONDS - (time.perf_counter() - started)) / (3 * (EPOCHS + 1))
        for index in sorted({0, len(found) // 2, len(found) - 1}):
            of_an_image, cohort = found[index]
            model, members = cohort.models[0], len(cohort.models)
            batch = min(model.training.batch_size, data.train_images)
            images = int(min(batch, budget * rate / of_an_image))
            if images < 2 and curves:
                break
            images = max(images, 2)
            in_time = int(budget * rate / (of_an_image * images + call_flops(cohort.models, data)))
            steps = min(math.ceil(data.train_images / batch), MOST_STEPS, max(in_time, 1))
            # Choosing the best stack would take longer than the measurement.
            own = resources.model_copy(update={"stack": members if resources.stack is None else resources.stack})
            seconds = _step_seconds(cohort, data, images, steps, device, own)
            rate = max(of_an_image * images / seconds, guess / 10)
            curves.setdefault(architecture, []).append((of_an_image * images, seconds))
    for curve in curves.values():
        curve.sort()
    points = [point for curve in curves.values() for point in curve]
    return StepTimes(curves, max(operations / seconds for operations, seconds in points), len(points))


def _step_seconds(
    cohort: Cohort, data: DatasetFacts, images: int, steps: int, device: torch.device, resources: ResourcesConfig
) -> float:
    """Of one training step of all members on `images` random images each, in epochs of `steps`, after a first one."""
    ends: list[float] = []

    def note(training: CohortTraining) -> None:
        float(training.history[0].sum())  # waits for the device
        if training.epoch == 1:  # a training that could not be captured has begun again
            ends.clear()
        ends.append(time.perf_counter())

    train_briefly(cohort, data, images, steps, epochs=EPOCHS + 1, device=device, resources=resources, on_epoch=note)
    return (ends[-1] - ends[0]) / (EPOCHS * steps)


def check_networks(cohorts: Sequence[Cohort], data: DatasetFacts) -> None:
    """UserError at the first network that does not work.

    All are counted. Of each architecture that is not ours, the cheapest is trained for one step on two images.
    """
    for cohort in cohorts:
        facts_of(cohort.models[0], data)
    one_by_one = ResourcesConfig().model_copy(update={"stack": ORDINARY})
    cheapest = {(c.models[0].architecture, str(c.models[0].options)): c for c in longest_first(cohorts, data)}
    for cohort in cheapest.values():
        if cohort.models[0].architecture not in ARCHITECTURES:
            train_briefly(Cohort(models=cohort.models[:2]), data, 2, resources=one_by_one)


def train_briefly(
    cohort: Cohort,
    data: DatasetFacts,
    images: int,
    steps: int = 1,
    *,
    epochs: int = 1,
    device: torch.device = torch.device("cpu"),  # noqa: B008
    resources: ResourcesConfig,
    on_epoch: Callable[[CohortTraining], None] = lambda training: None,
) -> None:
    """Train a cohort for some steps an epoch on random images of the data set's shape; students without teachers.

    UserError if its networks do not work.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (steps * images, *data.image_shape), dtype=torch.uint8, generator=generator)
    labels = torch.arange(steps * images) % data.classes
    channels = data.image_shape[0]
    names = tuple(map(str, range(data.classes)))
    dataset = Dataset(pixels, labels, pixels[:2], labels[:2], names, (0.5,) * channels, (0.25,) * channels)
    settings: dict[str, Any] = {"distillation": None, "batch_size": images, "evaluate_every": epochs, "epochs": epochs}
    models = [
        model.model_copy(update={"training": model.training.model_copy(update=settings), "teacher": None})
        for model in cohort.models
    ]
    shape, threads = NetworkShape.of(models[0], data), resources.cpus_per_cohort
    with refused_in_one_line(shape), computing_threads(threads):  # as in a trial
        train_cohort(models, dataset, device, resources=resources, on_epoch=on_epoch)
