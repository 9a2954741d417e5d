"""What a data set is: labelled images as tensors, split into train and test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """A labelled image set, split into train and test.

    Images are uint8 `[n, channels, height, width]`, labels int64 `[n]`. The normalised pixel that networks,
    planes and margins see is `(pixel / pixel_range - mean[channel]) / deviation[channel]`.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    pixel_range: float = 255.0
    confusions: tuple[int, ...] | None = None
    """For each class, the one that asymmetric label noise takes it for (itself: never falsified); the next class
    if None."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Images and labels of the split called `name`, "train" or "test"."""
        return {
            "train": (self.train_images, self.train_labels),
            "test": (self.test_images, self.test_labels),
        }[name]

    def normalised(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """uint8 pixels `[..., channels, height, width]` as normalised pixels of type `dtype`."""
        scale, offset = _affine(self.mean, self.deviation, self.pixel_range, dtype, pixels.device)
        return torch.addcmul(offset, pixels.to(dtype), scale)


@lru_cache(maxsize=16)
def _affine(
    mean: tuple[float, ...], deviation: tuple[float, ...], pixel_range: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factor and summand `[channels, 1, 1]` that normalise; kept, since making them waits for a GPU."""
    deviations = torch.tensor(deviation, dtype=dtype, device=device).view(-1, 1, 1)
    offset = -torch.tensor(mean, dtype=dtype, device=device).view(-1, 1, 1) / deviations
    return 1 / (pixel_range * deviations), offset
