"""Mixup and CutMix: images of a batch mixed with their neighbours, and their labels with them.

Mixup: Zhang et al., arXiv 1710.09412; CutMix: Yun et al., arXiv 1905.04899. As in torchvision.transforms.v2, an
image is mixed with the one before it in the batch, and a batch has one share, drawn from Beta(alpha, alpha).
torchvision draws it from torch's global generator; here every member of a cohort draws its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from dbviz_ray.config import ModelConfig
from dbviz_ray.seeds import numpy_generator


class Mixing:
    """The mixing of one epoch's batches.

    Args:
        models: Members of a cohort, which share their training settings.
        epoch: Number of the epoch, from 0.
        steps: Batches in the epoch.
        image_size: Height and width.
        classes: Number of classes.
        device: Where the batches are.
    """

    def __init__(
        self,
        models: Sequence[ModelConfig],
        epoch: int,
        steps: int,
        image_size: tuple[int, int],
        classes: int,
        device: torch.device,
    ) -> None:
        settings = models[0].training
        self._classes = classes
        shares, boxes = [], []
        for model in models:
            generator = numpy_generator("mixing", model.seeds.augmentation, epoch)
            share = generator.beta(settings.mixing_alpha, settings.mixing_alpha, steps)
            if settings.mixing == "cutmix":
                box, share = cut_boxes(share, generator.random((steps, 2)), image_size)
                boxes.append(box)
            shares.append(share)
        self._shares = torch.from_numpy(np.stack(shares)).to(device)
        self._boxes = torch.from_numpy(np.stack(boxes)).to(device) if boxes else None

    def __call__(self, step: int, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mixed images `[members, n, c, h, w]` and probabilities `[members, n, classes]` of the batch number `step`.

        Labels come as int64 `[members, n]`.
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
    """Boxes (top, left, bottom, right) int64 `[steps, 4]` of about 1 - share of the image, cut off at its edges.

    Also the exact shares `[steps]` of the image outside of them. Centres are within 0 and 1, `[steps, 2]`.
    """
    size = np.array(image_size)
    half = (0.5 * np.sqrt(1 - shares)[:, None] * size).astype(np.int64)
    centre = (centres * size).astype(np.int64)
    low, high = np.maximum(centre - half, 0), np.minimum(centre + half, size)
    return np.concatenate([low, high], axis=1), 1 - (high - low).prod(axis=1) / size.prod()


def _inside(boxes: Tensor, image_size: Sequence[int]) -> Tensor:
    """Bool `[members, 1, 1, height, width]`."""
    height, width = image_size
    top, left, bottom, right = (edge.view(-1, 1, 1, 1, 1) for edge in boxes.T)
    rows = torch.arange(height, device=boxes.device).view(-1, 1)
    columns = torch.arange(width, device=boxes.device)
    inside: Tensor = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside
