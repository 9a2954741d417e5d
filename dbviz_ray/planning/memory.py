"""The memory that training a cohort needs, before it is trained: counted on the meta device, beside what was measured.

It is what a worker holds all the time, the most that a step, an evaluation or another phase takes and, on the host, a
checkpoint on its way to the store.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dbviz_ray.architectures import in_precision
from dbviz_ray.config import ModelConfig, ResourcesConfig, TrainingConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.datasets.augmentation import BLOCK_BYTES, PADDING
from dbviz_ray.planning.sizes import NetworkShape
from dbviz_ray.training.allocations import AllocationCounter
from dbviz_ray.training.cohort import EVALUATION_BATCH
from dbviz_ray.training.execution import CudaGraph
from dbviz_ray.training.gradients import cross_entropy
from dbviz_ray.training.network import StackedState
from dbviz_ray.training.optimizers import moments_of
from dbviz_ray.training.sharpness import BATCH as SHARPNESS_BATCH
from dbviz_ray.training.verification import IMAGES_COMPARED

WORKER_BYTES = 950 * 2**20
"""Resident in a process that trains a cohort whose tensors are next to nothing, on a CPU: 830 MiB for two layers, 920
to 950 for networks that are traced to thousands of operations (2026-11-25, torch 2.14.1, Ray 2.60)."""
CUDA_BYTES = 2 * 2**30
"""Of host memory that a process with a CUDA context has beyond that; assumed, not measured."""
HEAP = 2.2
"""Resident bytes for each one that a pass over images is counted to take: with the memory settings of workers, freed
blocks leave holes that larger ones do not fit into (1.9 to 2.6, tests/benchmarks/memory.py)."""
VERIFIED_COPIES = 8
"""Copies of a member's weights while it is compared with ordinary modules."""
CHECKPOINT_COPIES = 3
"""Of a cohort's state on the host while it is saved: its own, and two of the file's content."""
LABEL_BYTES = 80
"""Of one training image and member: its place in an epoch, its labels in that order, whether it was missed."""
CROP_BYTES = 28
"""Of the same: its crop, and a member's draws while they are made."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes at the peak of a cohort's training."""

    host: int
    """Of its process."""
    device: int
    """Of tensors on the GPU; 0 without one. CUDA's own are not in it."""


def memory_need(models: Sequence[ModelConfig], data: DatasetFacts, resources: ResourcesConfig) -> MemoryNeed:
    """What training `models` as one cohort, with its checkpoints, takes in a process of its own.

    With `resources.stack` unset, of all members computed as one, which is what is tried first. A network that cannot
    be counted (it needs numbers, and fails on the CPU too) counts without its passes.
    """
    settings, members = models[0].training, len(models)
    stack = min(resources.stack or members, members)
    batch, evaluated = (min(most, data.train_images) for most in (settings.batch_size, EVALUATION_BATCH))
    network = network_memory(models[0], data, stack, batch, evaluated)
    weights = members * (network.parameters + network.buffers)
    state = weights + members * network.parameters * len(moments_of(settings))
    held = state + 2 * weights // members  # two networks serve as functions
    held += 2 * weights if settings.distillation is not None else 0  # teachers, taken to be as large, and stacked
    labels = members * data.train_images * (LABEL_BYTES + CROP_BYTES * (settings.augmentation == "crop_flip"))
    tested, trained = (count * math.prod(data.image_shape) for count in (data.test_images, data.train_images))
    stored = tested + trained
    checkpoint = CHECKPOINT_COPIES * state
    images, working = _images(models, data), _working(models, data, resources, network)
    if resources.gpus_per_cohort:
        host = stored + labels + max(checkpoint, 2 * weights)
        return MemoryNeed(WORKER_BYTES + CUDA_BYTES + host, held + labels + working + (images or trained) + tested)
    # A checkpoint's blocks do not fit into the holes either: they come beside what passes have left resident.
    return MemoryNeed(WORKER_BYTES + stored + held + labels + images + int(HEAP * working) + checkpoint, 0)


def _working(
    models: Sequence[ModelConfig], data: DatasetFacts, resources: ResourcesConfig, network: "NetworkMemory"
) -> int:
    """The most bytes that a phase of the training takes beside what is held all the time."""
    settings, members = models[0].training, len(models)
    stack = min(resources.stack or members, members)
    parts = math.ceil(members / stack)
    image = math.prod(data.image_shape) * _size(settings)
    batch = min(settings.batch_size, data.train_images)
    block = members * min(data.train_images * image, max(BLOCK_BYTES // members, batch * image))
    logits = members * data.train_images * data.classes * _size(settings)
    at_a_time = 1
    if resources.gpus_per_cohort and resources.execution in ("auto", "cuda_graph"):
        at_a_time = min(parts, CudaGraph.STREAMS)
    step = at_a_time * network.step + block + logits
    step += 2 * members * network.parameters if parts > 1 else 0  # the gradients of all parts, and joined
    step += 2 * stack * network.parameters if settings.sam_radius else 0  # where they lead to, and the moved weights
    step += 5 * stack * batch * image if settings.adversary is not None else 0  # moved images and their limits
    weights = network.parameters + network.buffers
    verified = VERIFIED_COPIES * min(stack, 2) * weights + 6 * IMAGES_COMPARED * network.step // (stack * batch)
    return max(
        step,
        3 * block + logits,  # the next block is made beside the last one
        network.evaluation + 2 * logits,
        4 * logits,  # losses and errors of an epoch
        network.sharpness + 2 * network.parameters + members * weights,
        verified * 8 // _size(settings),
    )


def _images(models: Sequence[ModelConfig], data: DatasetFacts) -> int:
    """Bytes of the training images as `AugmentedImages` keeps them; 0 where they are those of the data set."""
    settings, (channels, height, width) = models[0].training, data.image_shape
    if settings.augmentation == "crop_flip":
        return data.train_images * channels * (height + 2 * PADDING) * (width + 2 * PADDING)
    normalised = data.train_images * channels * height * width * _size(settings)
    return normalised if normalised <= BLOCK_BYTES else 0


def _size(settings: TrainingConfig) -> int:
    """Bytes of a pixel, a weight or a score."""
    return 8 if settings.precision == "float64" else 4


@dataclass(frozen=True)
class NetworkMemory:
    """Bytes of one network, and those that its passes take at their peaks, without what goes in."""

    parameters: int
    buffers: int
    step: int
    """Of a training step of one stack: what the backward pass needs, and the gradients."""
    evaluation: int
    """Of a forward pass of one stack."""
    sharpness: int
    """Of a gradient of one member."""


def network_memory(model: ModelConfig, data: DatasetFacts, stack: int, batch: int, evaluated: int) -> NetworkMemory:
    """Of `stack` members' steps on `batch` images each, and evaluations of `evaluated` images.

    A network that needs numbers is run on the CPU, with few images, from which the rest follows; of one that fails
    there too, as its training will tell, nothing is counted.
    """
    shape, precision = NetworkShape.of(model, data), model.training.precision
    try:
        return _counted(shape.device, shape, precision, stack, batch, evaluated)
    except Exception:  # a user's own code may raise anything
        pass
    try:
        two, four = (astuple(_counted("cpu", shape, precision, 1, images, images)) for images in (2, 4))
    except Exception:
        return NetworkMemory(0, 0, 0, 0, 0)
    images = (0, 0, batch, evaluated, min(evaluated, SHARPNESS_BATCH))
    members = (1, 1, stack, stack, 1)
    line = zip(two, four, images, members, strict=True)
    return NetworkMemory(*(count * (low + (high - low) * max(n - 2, 0) // 2) for low, high, n, count in line))


@lru_cache(maxsize=1024)
def _counted(device: str, shape: NetworkShape, precision: str, stack: int, batch: int, evaluated: int) -> NetworkMemory:
    dtype = torch.float64 if precision == "float64" else torch.float32
    module = in_precision(shape.network(device), dtype)
    network = StackedState([module] * stack, torch.bfloat16 if precision == "bfloat16" else None)

    def images(count: int) -> Tensor:
        return torch.zeros(count, *shape.image_shape, dtype=dtype, device=device)

    return NetworkMemory(
        parameters=sum(tensor.nbytes for tensor in network.parameters.values()) // stack,
        buffers=sum(tensor.nbytes for tensor in network.buffers.values()) // stack,
        step=_gradient_bytes(network, images(batch), stack, training=True),
        evaluation=_evaluation_bytes(network, images(evaluated), stack),
        sharpness=_gradient_bytes(network, images(min(evaluated, SHARPNESS_BATCH)), 1, training=False),
    )


def _gradient_bytes(network: StackedState, images: Tensor, members: int, *, training: bool) -> int:
    """The peak of the first `members`' forward and backward pass over the same images."""
    parameters, buffers = network.sliced(0, members)
    of_members = images.expand(members, *images.shape)
    labels = torch.zeros(of_members.shape[:2], dtype=torch.int64, device=images.device)
    masks = network.mask_shapes(images) if training else {}
    counter = AllocationCounter(images.device.type)
    with counter:
        drawn = {name: images.new_ones(members, *shape) for name, (_, shape) in masks.items()}
        moved = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
        logits = network.forward(moved, buffers | drawn, of_members, training=training, exact=not training)
        torch.autograd.grad(cross_entropy(logits, labels), list(moved.values()), allow_unused=True)
    return counter.peak


def _evaluation_bytes(network: StackedState, images: Tensor, members: int) -> int:
    """The peak of the first `members`' evaluation of the same images, which are made for it."""
    counter = AllocationCounter(images.device.type)
    with torch.no_grad(), counter:
        same = torch.zeros_like(images).expand(members, *images.shape)
        network.forward(*network.sliced(0, members), same, training=False, exact=True)
    return counter.peak
