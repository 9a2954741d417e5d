"""Training images made on the device: gathered, augmented, normalised and mixed.

Each member of a cohort draws its training set, order, crops, flips and mixing from its own streams.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dbviz_ray.config import ModelConfig
from dbviz_ray.config.seeds import numpy_generator, torch_generator, train_set
from dbviz_ray.datasets import Dataset

PADDING = 4
BLOCK_BYTES = 64 * 2**20
"""Normalised images made at a time; large enough that small networks do not wait for them."""


class Draws(NamedTuple):
    """What is drawn on the CPU for one epoch of a cohort: the same for every device. None where it is not needed."""

    order: Tensor
    """Training images in their order, int64 `[members, images]`."""
    crops: Tensor | None = None
    """Top, left (0 to 8 each) and flip (0 or 1) for every image of the epoch, uint8 `[members, images, 3]`."""
    shares: Tensor | None = None
    """How much of a mixed image is the image itself, float64 `[members, steps]`."""
    boxes: Tensor | None = None
    """What CutMix replaces, int64 `[members, steps, 4]` (see `cut_boxes`)."""


class OneAhead:
    """A function of the epoch that a thread calls for the next epoch already; the last one has no next.

    An error is raised where the result is asked for. A thread ends with its call.
    """

    def __init__(self, draw: Callable[[int], Draws], epochs: int) -> None:
        self._draw, self._epochs = draw, epochs
        self._next: dict[int, Future[Draws]] = {}

    def __call__(self, epoch: int) -> Draws:
        """What is drawn for this epoch."""
        begun = self._next.pop(epoch, None)
        drawn = self._draw(epoch) if begun is None else begun.result()
        self._next.clear()
        if epoch + 1 < self._epochs:
            worker = ThreadPoolExecutor(1)
            self._next[epoch + 1] = worker.submit(self._draw, epoch + 1)
            worker.shutdown(wait=False)
        return drawn


class AugmentedImages:
    """A cohort's training images, epoch by epoch; the data set stays on the device."""

    def __init__(self, models: Sequence[ModelConfig], dataset: Dataset, device: torch.device, dtype: torch.dtype):
        settings, total = models[0].training, len(dataset.train_labels)
        self._dataset = dataset
        self._device = device
        self._dtype = dtype
        self._batch_size = settings.batch_size
        self.steps_per_epoch = math.ceil(total / settings.batch_size)
        train_sets = torch.stack([torch.from_numpy(train_set(total, m.seeds.train_set)) for m in models])
        # A partial function, since a method would make a cycle, which keeps a training's memory.
        draw = partial(_draws, models, train_sets, self.steps_per_epoch, dataset.image_shape[1:])
        self._draw = OneAhead(draw, settings.epochs) if device.type == "cuda" else draw
        images = dataset.train_images.to(device)
        augmented = settings.augmentation == "crop_flip"
        # A small set without augmentation is normalised once; any other stays uint8.
        self._normalised = not augmented and images.numel() * dtype.itemsize <= BLOCK_BYTES
        self._images = dataset.normalised(images, dtype) if self._normalised else images
        if augmented:
            padded = F.pad(images.movedim(1, -1), (0, 0, *(PADDING,) * 4))
            _, height, width = dataset.image_shape
            # Every crop of every image, `[images, top, left, height, width, channels]`, as a view.
            self._images = padded.unfold(1, height, 1).unfold(2, width, 1).movedim(3, -1)

    def draws(self, epoch: int) -> Draws:
        """What is drawn for an epoch, on the device. On a GPU nothing waits for it but what needs it."""
        pins = self._device.type == "cuda"

        def moved(tensor: Tensor) -> Tensor:
            # The thread that draws never calls CUDA; this one pins and copies.
            return (tensor.pin_memory() if pins else tensor).to(self._device, non_blocking=True)

        order, *others = self._draw(epoch)
        return Draws(moved(order), *(None if other is None else moved(other) for other in others))

    def augmented(self, draws: Draws) -> Iterator[tuple[slice, Tensor]]:
        """One epoch's batches: place in the epoch, and images `[members, batch, channels, height, width]`."""
        members, total = draws.order.shape
        image_bytes = members * self._dataset.train_images[0].numel() * self._dtype.itemsize
        steps_in_block = max(1, BLOCK_BYTES // (image_bytes * self._batch_size))
        whole = total // self._batch_size * self._batch_size
        start = 0
        while start < total:
            size = self._batch_size if start < whole else total - whole
            block = slice(start, min(start + steps_in_block * size, whole if start < whole else total))
            # Each batch is one piece of memory: compiled steps are made for one layout.
            order, crops = (
                None if drawn is None else drawn[:, block].unflatten(1, (-1, size)).transpose(0, 1)
                for drawn in (draws.order, draws.crops)
            )
            assert order is not None
            for images in self._gathered(order, crops):
                yield slice(start, start + size), images
                start += size

    def _gathered(self, indices: Tensor, crops: Tensor | None) -> Tensor:
        if crops is None:
            images = self._images.index_select(0, indices.flatten()).view(*indices.shape, *self._images.shape[1:])
            return images if self._normalised else self._dataset.normalised(images, self._dtype)
        top, left, flip = crops.long().unbind(-1)
        pixels = self._images[indices, top, left]
        pixels = torch.where(flip.bool()[..., None, None, None], pixels.flip(-2), pixels)
        return self._dataset.normalised(pixels.movedim(-1, -3), self._dtype)


def _draws(
    models: Sequence[ModelConfig], train_sets: Tensor, steps: int, image_size: tuple[int, ...], epoch: int
) -> Draws:
    members, total = train_sets.shape
    settings = models[0].training
    streams = (torch_generator("cpu", "order", model.seeds.order, epoch) for model in models)
    order = train_sets.gather(1, torch.stack([torch.randperm(total, generator=stream) for stream in streams]))
    crops = None
    if settings.augmentation == "crop_flip":
        limits = torch.tensor([2 * PADDING + 1, 2 * PADDING + 1, 2])
        crops = torch.empty(members, total, 3, dtype=torch.uint8)
        for own, model in zip(crops, models, strict=True):
            stream = torch_generator("cpu", "augmentation", model.seeds.augmentation, epoch)
            own.copy_(torch.rand((total, 3), generator=stream) * limits)
    if settings.mixing == "none":
        return Draws(order, crops)
    shares, boxes = [], []
    for model in models:
        generator = numpy_generator("mixing", model.seeds.augmentation, epoch)
        share = generator.beta(settings.mixing_alpha, settings.mixing_alpha, steps)
        if settings.mixing == "cutmix":
            box, share = cut_boxes(share, generator.random((steps, 2)), image_size)
            boxes.append(torch.from_numpy(box))
        shares.append(torch.from_numpy(share))
    return Draws(order, crops, torch.stack(shares), torch.stack(boxes) if boxes else None)


def mixed(draws: Draws, step: int, images: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:
    """Mixup or, with boxes, CutMix of batch number `step`, if anything is drawn for it.

    From images `[members, n, c, h, w]` and labels int64 `[members, n]`, images of the same shape and class
    probabilities `[members, n, classes]`.
    """
    if draws.shares is None:
        return images, labels
    before = images.roll(1, dims=1)
    share = draws.shares[:, step].to(images.dtype)
    if draws.boxes is None:
        images = torch.lerp(before, images, share.view(-1, 1, 1, 1, 1))
    else:
        top, left, bottom, right = (edge.view(-1, 1, 1, 1, 1) for edge in draws.boxes[:, step].T)
        row = torch.arange(images.shape[-2], device=images.device).view(-1, 1)
        column = torch.arange(images.shape[-1], device=images.device)
        inside = (row >= top) & (row < bottom) & (column >= left) & (column < right)
        images = torch.where(inside, before, images)
    one_hot = F.one_hot(labels, classes).to(images.dtype)
    return images, torch.lerp(one_hot.roll(1, dims=1), one_hot, share.view(-1, 1, 1))


def cut_boxes(shares: np.ndarray, centres: np.ndarray, image_size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (top, left, bottom, right), int64 `[steps, 4]`, that cover about 1 - share of the image.

    Centres `[steps, 2]` are between 0 and 1; boxes end at the image's edges. Also returns the exact shares `[steps]` of
    the image outside the boxes.
    """
    size = np.array(image_size)
    half = (0.5 * np.sqrt(1 - shares)[:, None] * size).astype(np.int64)
    centre = (centres * size).astype(np.int64)
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, size)
    return np.concatenate([low, high], axis=1), 1 - (high - low).prod(axis=1) / size.prod()
