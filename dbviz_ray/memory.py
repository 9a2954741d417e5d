"""The memory that training a cohort needs, before it is trained: counted on torch's meta device, with two measurements.

At its peak a worker holds what it holds all the time (its code, the data set, weights, moments, labels) and the most
that one of these takes: a step (what the backward pass needs and the gradients), an evaluation, an epoch's metrics,
sharpness, a checkpoint on its way to the store, the trained models.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dbviz_ray.cohort.execution import CudaGraph
from dbviz_ray.cohort.optimizers import moments_of
from dbviz_ray.config import ModelConfig, ResourcesConfig
from dbviz_ray.datasets.augmentation import BLOCK_BYTES, PADDING
from dbviz_ray.networks import DatasetFacts
from dbviz_ray.passes import passes_of
from dbviz_ray.training import EVALUATION_BATCH

WORKER_BYTES = 850 * 2**20
"""Resident in a process that trains the smallest cohort on a CPU, with its libraries (2026-11-25, torch 2.14.1)."""
CUDA_BYTES = 2 * 2**30
"""Of host memory that a process with a CUDA context has beyond that; assumed, not measured."""
CHECKPOINT_COPIES = 3
"""Of a cohort's state on the host while it is saved: its own, and two of the file's content."""
LABEL_BYTES = 80
"""Of one training image and member: its place in an epoch, its labels in that order, whether it was missed."""
CROP_BYTES = 72
"""Of the same: draws of crops, as they are made."""


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
    model, members = models[0], len(models)
    settings = model.training
    stack = min(resources.stack or members, members)
    batch, evaluated = min(settings.batch_size, data.train_images), min(EVALUATION_BATCH, data.train_images)
    passes = passes_of(model, data, stack, batch, evaluated)

    size = 8 if settings.precision == "float64" else 4
    weights = members * (passes.parameters + passes.buffers)
    moments = members * passes.parameters * len(moments_of(settings))
    stored = (data.train_images + data.test_images) * math.prod(data.image_shape)
    normalised = data.train_images * math.prod(data.image_shape) * size
    block = min(members * normalised, max(BLOCK_BYTES, members * batch * math.prod(data.image_shape) * size))
    logits = members * data.train_images * data.classes * size
    resident = _resident_images(data, settings.augmentation == "crop_flip", normalised)
    labels = members * data.train_images * (LABEL_BYTES + CROP_BYTES * (settings.augmentation == "crop_flip"))

    held = weights + 2 * weights // members + moments + labels  # two networks serve as functions
    if settings.distillation is not None:
        held += 2 * weights  # teachers, about as large as their students, and stacked
    parts = math.ceil(members / stack)
    gradients = members * passes.parameters
    step = passes.step + (2 * gradients if parts > 1 else 0) + block + logits
    if settings.sam_radius:
        step += 2 * stack * passes.parameters  # the ascent's gradient and the moved weights
    if settings.adversary is not None:
        step += 5 * stack * batch * math.prod(data.image_shape) * size  # the moved images and their limits
    if resources.gpus_per_cohort:
        side_by_side = min(parts, CudaGraph.STREAMS) if resources.execution in ("auto", "cuda_graph") else 1
        step += (side_by_side - 1) * passes.step
    metrics = 4 * logits
    evaluation = passes.evaluation + 2 * logits
    trained = passes.sharpness + 2 * passes.parameters + weights
    on_device = held + max(step, 3 * block + logits, metrics, evaluation, trained)
    checkpoint = CHECKPOINT_COPIES * (weights + moments)

    if not resources.gpus_per_cohort:
        in_training = on_device + resident
        return MemoryNeed(WORKER_BYTES + stored + max(in_training, held + resident + checkpoint), 0)
    host = WORKER_BYTES + CUDA_BYTES + stored + labels + max(checkpoint, 2 * weights)
    return MemoryNeed(host, on_device + (resident or stored))


def _resident_images(data: DatasetFacts, augmented: bool, normalised: int) -> int:
    """Bytes of the training images as `AugmentedImages` keeps them; 0 where they are those of the data set."""
    channels, height, width = data.image_shape
    if augmented:
        return data.train_images * channels * (height + 2 * PADDING) * (width + 2 * PADDING)
    return normalised if normalised <= BLOCK_BYTES else 0
