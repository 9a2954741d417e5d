"""Sizes of networks, and the operations and relative costs of training and evaluating them; nothing is trained."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Self

import torch
from torch import nn
from torch.utils.flop_counter import flop_registry

from dbviz_ray.architectures import initialised_network
from dbviz_ray.architectures.outputs import logits_of, single_score
from dbviz_ray.config import Cohort, ModelConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.evaluation.work import Task, What, Work
from dbviz_ray.terminal.progress import Amount
from dbviz_ray.training.allocations import LightDispatchMode, lacks_memory

CALL_FLOPS = 1e6
"""For the estimate of the remaining time, a call of a tensor operation costs as much as so many operations. This value
gave the closest estimates on CPUs; calls dominate in small networks with many layers."""
SMALL = 2**15  # numbers in a matrix: its products take milliseconds, the import of what the meta device needs a second
LABELLED_TOGETHER = 1000
"""Points in a batch."""


class NetworkShape(NamedTuple):
    """What a network's sizes depend on."""

    architecture: str
    width: int
    options: tuple[tuple[str, Any], ...]
    image_shape: tuple[int, int, int]
    classes: int

    @classmethod
    def of(cls, model: ModelConfig, data: DatasetFacts) -> Self:
        """The shape of a model's network on its data set."""
        options = tuple(sorted(model.options.items()))
        return cls(model.architecture, model.width, options, data.image_shape, data.classes)

    @property
    def device(self) -> str:
        """Where to count: on the meta device, where nothing is computed; a small network of two matrices on the CPU."""
        is_small = self.architecture == "fully_connected" and self.width * math.prod(self.image_shape) <= SMALL
        return "cpu" if is_small else "meta"

    def network(self, device: str) -> nn.Module:
        """A network of this shape; on the "meta" device it has no numbers."""
        with torch.device(device):
            sizes = self.width, self.image_shape, self.classes
            return initialised_network(self.architecture, *sizes, options=dict(self.options))


@dataclass(frozen=True)
class NetworkFacts:
    """Sizes of one network."""

    parameters: int
    forward_flops: int
    """Floating-point operations of one image's forward pass."""
    forward_calls: int
    """Tensor operations of a forward pass, however large its batch."""


def facts_of(model: ModelConfig, data: DatasetFacts) -> NetworkFacts:
    """Sizes of a model's network on its data set. Raises UserError if the network fails."""
    return _network_facts(NetworkShape.of(model, data))


def training_flops(models: Sequence[ModelConfig], data: DatasetFacts) -> float:
    """Operations of training models of one shape: every pass over the images, and the test evaluations."""
    return step_flops(models, data, data.train_images) * models[0].training.epochs + evaluation_flops(models, data)


def step_flops(models: Sequence[ModelConfig], data: DatasetFacts, images: int) -> float:
    """Operations of a training step of models of one shape on `images` images each."""
    return float(facts_of(models[0], data).forward_flops) * passes_of_a_step(models[0]) * images * len(models)


def call_flops(models: Sequence[ModelConfig], data: DatasetFacts) -> float:
    """What the calls of a training step of models of one shape cost, one model after the other, in operations."""
    return facts_of(models[0], data).forward_calls * passes_of_a_step(models[0]) * len(models) * CALL_FLOPS


def evaluation_flops(models: Sequence[ModelConfig], data: DatasetFacts) -> float:
    """Operations of all test evaluations during the training of models of one shape."""
    settings = models[0].training
    images = data.test_images * math.ceil(settings.epochs / settings.evaluate_every)
    return float(facts_of(models[0], data).forward_flops) * images * len(models)


def passes_of_a_step(model: ModelConfig) -> int:
    """A training step's cost in forward passes: a gradient costs three."""
    settings = model.training
    gradients = 1 + bool(settings.sam_radius) + (settings.adversary.steps if settings.adversary else 0)
    return 3 * gradients + bool(settings.distillation)


def longest_first(cohorts: Sequence[Cohort], data: DatasetFacts) -> list[Cohort]:
    """The most expensive cohorts first, so that workers idle least at the end."""
    return sorted(cohorts, key=lambda cohort: -training_flops(cohort.models, data))


def training_amounts(cohorts: Iterable[Cohort], data: DatasetFacts) -> dict[str, Amount]:
    """The epochs of every model, and the relative cost of one."""
    amounts = {}
    for cohort in cohorts:
        model = cohort.models[0]
        settings = model.training
        images = data.train_images * passes_of_a_step(model) + data.test_images / settings.evaluate_every
        cost = images * _image_cost(model, data, min(settings.batch_size, data.train_images))
        amounts.update({member.model_id: Amount(settings.epochs, cost) for member in cohort.models})
    return amounts


def evaluation_amounts(tasks: Iterable[Task], work: Mapping[What, Work], data: DatasetFacts) -> dict[str, Amount]:
    """The points of every model's tasks, and the relative cost of one."""
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


@cache
def _network_facts(shape: NetworkShape) -> NetworkFacts:
    """Counted on the CPU if the network needs numbers."""
    with refused_in_one_line(shape):
        try:
            return _counted(shape, shape.device)
        except Exception:
            return _counted(shape, "cpu")


@contextmanager
def refused_in_one_line(shape: NetworkShape) -> Iterator[None]:
    """Raise a UserError about the architecture for whatever a network of this shape raises inside."""
    try:
        yield
    except (Exception, SystemExit) as error:  # a user's own code may raise anything
        cause = one_line(error, with_type=not isinstance(error, (ValueError, UserError)))
        fails = "needs more memory than this machine has" if lacks_memory(error) else "does not work"
        reason = f"{fails} at width {shape.width} on images {shape.image_shape}: {cause}"
        raise UserError("grid.architecture", shape.architecture, reason=reason) from None


def _counted(shape: NetworkShape, device: str) -> NetworkFacts:
    """Sizes on a device, from a forward pass of two images.

    Also runs the network on them as training will, so that mistakes show before anything is trained.
    """
    network, images = shape.network(device), torch.zeros(2, *shape.image_shape, device=device)
    calls = _CountsCalls()
    with torch.no_grad():
        with calls:
            network.eval()
            output = network(images)
        if calls.last is torch.ops.aten.sigmoid.default and single_score(output) is not None:
            raise ValueError("its one score for each image comes from a sigmoid; return the logit of class 1")
        scores = logits_of(output)
        if scores.shape != (len(images), shape.classes):
            raise ValueError(f"its scores have shape {tuple(scores.shape)}, not {(len(images), shape.classes)}")
        network.train()
        network(images)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkFacts(parameters, calls.flops // len(images), calls.count)


class _CountsCalls(LightDispatchMode):
    count = flops = 0
    last: Any = None
    """The last operation that is more than a view."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        self.last = self.last if func.is_view else func
        result = func(*args, **(kwargs or {}))
        if flops := flop_registry.get(func.overloadpacket):
            self.flops += flops(*args, **(kwargs or {}), out_val=result)
        return result
