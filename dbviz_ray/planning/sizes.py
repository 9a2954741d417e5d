"""Sizes of networks and operations of their training, without loading data or training anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from dbviz_ray.architectures import build_network
from dbviz_ray.config import Cohort, ModelConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.errors import UserError, one_line
from dbviz_ray.training.layers import mask_shapes, with_masked_dropout


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
    options = tuple(sorted(model.options.items()))
    return _network_facts(model.architecture, model.width, options, data.image_shape, data.classes)


def training_flops(models: Sequence[ModelConfig], data: DatasetFacts) -> float:
    """Operations of training models of one shape: every pass over the images, and the test evaluations."""
    return step_flops(models, data, data.train_images) * models[0].training.epochs + evaluation_flops(models, data)


def step_flops(models: Sequence[ModelConfig], data: DatasetFacts, images: int) -> float:
    """Operations of a training step of models of one shape on `images` images each."""
    return float(facts_of(models[0], data).forward_flops) * passes_of_a_step(models[0]) * images * len(models)


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


@cache
def _network_facts(
    architecture: str,
    width: int,
    options: tuple[tuple[str, Any], ...],
    image_shape: tuple[int, int, int],
    classes: int,
) -> NetworkFacts:
    """Counted on torch's meta device, where nothing is computed; on the CPU if the network needs numbers."""

    def count_on(device: str) -> tuple[nn.Module, int, int]:
        with torch.device(device):
            network = with_masked_dropout(build_network(architecture, width, image_shape, classes, dict(options)))
            return network, *_count_operations(network, torch.zeros(2, *image_shape), classes)

    try:
        try:
            network, flops, calls = count_on("meta")
        except Exception:
            network, flops, calls = count_on("cpu")
    except Exception as error:  # a user's own code may raise anything
        cause = one_line(error, with_type=not isinstance(error, (ValueError, UserError)))
        reason = f"does not work at width {width} on images {image_shape}: {cause}"
        raise UserError("grid.architecture", architecture, reason=reason) from None
    return NetworkFacts(sum(parameter.numel() for parameter in network.parameters()), flops, calls)


def _count_operations(network: nn.Module, images: torch.Tensor, classes: int) -> tuple[int, int]:
    """Floating-point and tensor operations of a forward pass of one image.

    Also runs the network on two images as training will, so that mistakes show before anything is trained.
    """
    counter, calls = FlopCounterMode(display=False), _CountsCalls()
    with torch.no_grad():
        with calls, counter:
            scores = network.eval()(images)
        if scores.shape != (len(images), classes):
            raise ValueError(f"its scores have shape {tuple(scores.shape)}, not {(len(images), classes)}")
        masks = mask_shapes(network, images)
        for name, (_, shape) in masks.items():
            layer = network.get_submodule(name.rpartition(".")[0])
            layer.mask = torch.ones(shape, device=images.device)
        with _RefusesChance():
            network.train()(images)
    return counter.get_total_flops() // len(images), calls.count


class _CountsCalls(TorchDispatchMode):
    """Counts the calls of tensor operations."""

    count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


class _RefusesChance(TorchDispatchMode):
    """Raises ValueError at an operation that draws from torch's global stream: members have streams of their own."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        arguments = dict(zip((a.name for a in func._schema.arguments), args, strict=False)) | dict(kwargs or {})
        draws = torch.Tag.nondeterministic_seeded in func.tags and arguments.get("dropout_p", 1.0) > 0
        if draws:
            raise ValueError(
                f"in training it draws random numbers of its own ({func}); allowed: dropout as torch.nn.Dropout layers"
            )
        return func(*args, **(kwargs or {}))
