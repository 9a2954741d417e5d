"""Training images made on the device: gathered, augmented, normalised and mixed.

Each member of a cohort draws its training set, order, crops, flips and mixing from its own streams.
"""

from collections.abc import Iterator, Sequence

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


class AugmentedImages:
    """A cohort's training images, epoch by epoch; the data set stays on the device."""

    def __init__(self, models: Sequence[ModelConfig], dataset: Dataset, device: torch.device, dtype: torch.dtype):
        self._models = models
        self._dataset = dataset
        self._device = device
        self._dtype = dtype
        self._batch_size = models[0].training.batch_size
        self._augmented = models[0].training.augmentation == "crop_flip"
        total = len(dataset.train_labels)
        self._train_sets = torch.stack([torch.from_numpy(train_set(total, m.seeds.train_set)) for m in models])
        images = dataset.train_images.to(device)
        # A small set without augmentation is normalised once; any other stays uint8.
        self._normalised = not self._augmented and images.numel() * dtype.itemsize <= BLOCK_BYTES
        if self._augmented:
            images = F.pad(images, (PADDING,) * 4)
        self._images = dataset.normalised(images, dtype) if self._normalised else images

    def order(self, epoch: int) -> Tensor:
        """Training images in their order, int64 `[members, images]`; drawn on the CPU: the same on every device."""
        streams = (torch_generator("cpu", "order", model.seeds.order, epoch) for model in self._models)
        draws = [torch.randperm(len(self._images), generator=stream) for stream in streams]
        return self._train_sets.gather(1, torch.stack(draws)).to(self._device)

    def augmented(self, epoch: int, order: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """One epoch's batches: place in the epoch, and images `[members, batch, channels, height, width]`."""
        crops = self._crops(epoch) if self._augmented else None
        members, total = order.shape
        image_bytes = members * self._dataset.train_images[0].numel() * self._dtype.itemsize
        steps_in_block = max(1, BLOCK_BYTES // (image_bytes * self._batch_size))
        block_size = steps_in_block * self._batch_size
        for start in range(0, total, block_size):
            block = order[:, start : start + block_size]
            block_crops = crops[:, start : start + block_size] if crops is not None else None
            images = self._gathered(block, block_crops)
            for offset in range(0, block.shape[1], self._batch_size):
                batch = images[:, offset : offset + self._batch_size]
                yield slice(start + offset, start + offset + batch.shape[1]), batch

    def _crops(self, epoch: int) -> Tensor:
        """Top, left (0 to 8 each) and flip (0 or 1) for every image of the epoch: int64 `[members, n, 3]`."""
        streams = (torch_generator("cpu", "augmentation", model.seeds.augmentation, epoch) for model in self._models)
        draws = [torch.rand((len(self._images), 3), generator=stream) for stream in streams]
        limits = torch.tensor([2 * PADDING + 1, 2 * PADDING + 1, 2])
        return (torch.stack(draws) * limits).long().to(self._device)

    def _gathered(self, indices: Tensor, crops: Tensor | None) -> Tensor:
        if crops is None:
            images = self._images.index_select(0, indices.flatten()).view(*indices.shape, *self._images.shape[1:])
            return images if self._normalised else self._dataset.normalised(images, self._dtype)
        _, height, width = self._dataset.image_shape
        top, left, flip = (crops[..., None, column] for column in range(3))
        rows = top + torch.arange(height, device=self._device)
        columns = torch.arange(width, device=self._device)
        columns = left + torch.where(flip.bool(), width - 1 - columns, columns)
        pixels = self._images[indices[..., None, None], :, rows[..., :, None], columns[..., None, :]]
        return self._dataset.normalised(pixels.movedim(-1, -3), self._dtype)


class Mixing:
    """Mixup or CutMix for the `steps` batches of one epoch, on a device, of members that share their settings."""

    def __init__(
        self, models: Sequence[ModelConfig], epoch: int, steps: int, dataset: Dataset, device: torch.device
    ) -> None:
        settings = models[0].training
        self._classes = len(dataset.class_names)
        shares, boxes = [], []
        for model in models:
            generator = numpy_generator("mixing", model.seeds.augmentation, epoch)
            share = generator.beta(settings.mixing_alpha, settings.mixing_alpha, steps)
            if settings.mixing == "cutmix":
                box, share = cut_boxes(share, generator.random((steps, 2)), dataset.image_shape[1:])
                boxes.append(box)
            shares.append(share)
        self._shares = torch.from_numpy(np.stack(shares)).to(device)
        self._boxes = torch.from_numpy(np.stack(boxes)).to(device) if boxes else None

    def __call__(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mix batch number `step`, images `[members, n, c, h, w]` and labels int64 `[members, n]`.

        Returns images of the same shape and class probabilities `[members, n, classes]`.
        """
        before = images.roll(1, dims=1)
        share = self._shares[:, step].to(images.dtype)
        if self._boxes is None:
            mixed = torch.lerp(before, images, share.view(-1, 1, 1, 1, 1))
        else:
            mixed = torch.where(_inside(self._boxes[:, step], images.shape[-2:]), before, images)
        one_hot = F.one_hot(labels, self._classes).to(images.dtype)
        return mixed, torch.lerp(one_hot.roll(1, dims=1), one_hot, share.view(-1, 1, 1))


def cut_boxes(shares: np.ndarray, centres: np.ndarray, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (top, left, bottom, right), int64 `[steps, 4]`, that cover about 1 - share of the image.

    Centres `[steps, 2]` are between 0 and 1; boxes end at the image's edges. Also returns the exact shares `[steps]` of
    the image outside the boxes.
    """
    size = np.array(image_size)
    half = (0.5 * np.sqrt(1 - shares)[:, None] * size).astype(np.int64)
    centre = (centres * size).astype(np.int64)
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, size)
    return np.concatenate([low, high], axis=1), 1 - (high - low).prod(axis=1) / size.prod()


def _inside(boxes: Tensor, image_size: Sequence[int]) -> Tensor:
    """Which pixels are inside the boxes: bool `[members, 1, 1, height, width]`."""
    height, width = image_size
    top, left, bottom, right = (edge.view(-1, 1, 1, 1, 1) for edge in boxes.T)
    rows = torch.arange(height, device=boxes.device).view(-1, 1)
    columns = torch.arange(width, device=boxes.device)
    inside: Tensor = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside
