"""Images as tensors: what a data set is, and how one is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.errors import UserError
from dbviz_ray.registry import dataset_loader
from dbviz_ray.seeds import numpy_generator


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
        deviation = torch.tensor(self.deviation, dtype=dtype, device=pixels.device).view(-1, 1, 1)
        shift = torch.tensor(self.mean, dtype=dtype, device=pixels.device).view(-1, 1, 1) / deviation
        return torch.addcmul(-shift, pixels.to(dtype), 1 / (self.pixel_range * deviation))


def load_dataset(config: DatasetConfig, directory: str) -> Dataset:
    """The data set that `config` names, loaded once per process; downloads are kept in `directory`.

    Raises UserError if its files are missing and cannot be had.
    """
    return _load(config, Path(directory).expanduser())


@lru_cache(maxsize=4)
def _load(config: DatasetConfig, directory: Path) -> Dataset:
    loader = dataset_loader(config.name)
    try:
        dataset: Dataset = loader(config, directory)
    except UserError:
        raise
    except Exception as error:  # a user's own code may raise anything
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise UserError(f"dataset.name: {config.name} cannot be loaded: {reason}") from error
    return dataset


def noisy_labels(labels: Tensor, classes: int, share: float, seed: int) -> Tensor:
    """`labels` with `share` of each class replaced by a different class drawn uniformly.

    The count of each class's replaced labels is `round(share * size of the class)`, as in the paper; the draw
    is the "label_noise" stream's. `labels` is int64 `[n]` and is not changed.
    """
    generator = numpy_generator("label_noise", seed)
    noisy = labels.numpy().copy()
    for label in range(classes):
        members = np.flatnonzero(labels.numpy() == label)
        chosen = generator.permutation(members)[: round(share * len(members))]
        noisy[chosen] = (label + generator.integers(1, classes, size=len(chosen))) % classes
    return torch.from_numpy(noisy)
