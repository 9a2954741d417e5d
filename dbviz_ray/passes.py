"""The memory of passes over images, counted on torch's meta device, where nothing is computed or taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dbviz_ray.allocations import AllocationCounter
from dbviz_ray.architectures import build_network
from dbviz_ray.cohort import sharpness
from dbviz_ray.cohort.losses import cross_entropy
from dbviz_ray.cohort.network import StackedState
from dbviz_ray.config import ModelConfig
from dbviz_ray.networks import DatasetFacts


@dataclass(frozen=True)
class Passes:
    """Bytes of one network, and those at the peaks of its passes, without what goes in."""

    parameters: int
    buffers: int
    step: int
    """Of a training step of one stack: what the backward pass needs, and the gradients."""
    evaluation: int
    """Of a forward pass of one stack."""
    sharpness: int
    """Of a gradient of one member."""


def passes_of(model: ModelConfig, data: DatasetFacts, stack: int, batch: int, evaluated: int) -> Passes:
    """Of `stack` members' steps on `batch` images each, and evaluations of `evaluated` images.

    A network that needs numbers is run on the CPU, with few images, from which the rest follows; of one that fails
    there too, as its training will tell, nothing is counted. UserError or ValueError if there is no such network.
    """
    options = tuple(sorted(model.options.items()))
    network = (model.architecture, model.width, options, data.image_shape, data.classes, model.training.precision)
    try:
        return _counted("meta", *network, stack, batch, evaluated)
    except Exception:  # a user's own code may raise anything
        pass
    try:
        two, four = (astuple(_counted("cpu", *network, 1, images, images)) for images in (2, 4))
    except Exception:
        return Passes(0, 0, 0, 0, 0)
    images = (0, 0, batch, evaluated, min(evaluated, sharpness.BATCH))
    members = (1, 1, stack, stack, 1)
    line = zip(two, four, images, members, strict=True)
    return Passes(*(count * (low + (high - low) * max(n - 2, 0) // 2) for low, high, n, count in line))


@lru_cache(maxsize=1024)
def _counted(
    device: str,
    architecture: str,
    width: int,
    options: tuple[tuple[str, Any], ...],
    image_shape: tuple[int, int, int],
    classes: int,
    precision: str,
    stack: int,
    batch: int,
    evaluated: int,
) -> Passes:
    dtype = torch.float64 if precision == "float64" else torch.float32
    with torch.device(device):
        module = build_network(architecture, width, image_shape, classes, dict(options)).to(dtype)
    network = StackedState([module] * stack, torch.bfloat16 if precision == "bfloat16" else None)

    def images(count: int) -> Tensor:
        return torch.zeros(count, *image_shape, dtype=dtype, device=device)

    return Passes(
        parameters=sum(tensor.nbytes for tensor in network.parameters.values()) // stack,
        buffers=sum(tensor.nbytes for tensor in network.buffers.values()) // stack,
        step=_gradient_bytes(network, images(batch), stack, training=True),
        evaluation=_evaluation_bytes(network, images(evaluated), stack),
        sharpness=_gradient_bytes(network, images(min(evaluated, sharpness.BATCH)), 1, training=False),
    )


def _gradient_bytes(network: StackedState, images: Tensor, members: int, *, training: bool) -> int:
    """The peak of the first `members`' forward and backward pass over the same images."""
    parameters, buffers = network.sliced(0, members)
    of_members = images.expand(members, *images.shape)
    labels = torch.zeros(of_members.shape[:2], dtype=torch.int64, device=images.device)
    masks = network.mask_shapes(images) if training else {}

    def gradients() -> object:
        drawn = {name: images.new_ones(members, *shape) for name, (_, shape) in masks.items()}
        moved = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
        logits = network.forward(moved, buffers | drawn, of_members, training=training, exact=not training)
        return torch.autograd.grad(cross_entropy(logits, labels), list(moved.values()), allow_unused=True)

    return _peak(gradients, images.device)


def _evaluation_bytes(network: StackedState, images: Tensor, members: int) -> int:
    """The peak of the first `members`' evaluation of the same images, which are made for it."""
    parameters, buffers = network.sliced(0, members)

    def logits() -> object:
        same = torch.zeros_like(images).expand(members, *images.shape)
        return network.forward(parameters, buffers, same, training=False, exact=True)

    with torch.no_grad():
        return _peak(logits, images.device)


def _peak(work: Callable[[], object], device: torch.device) -> int:
    counter = AllocationCounter(device.type)
    with counter:
        work()
    return counter.peak
