"""Keeping a part of a split, drawn once by its seed."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.errors import UserError
from dbviz_ray.seeds import numpy_generator

Split = Literal["train", "test"]


def kept_size(config: DatasetConfig, split: Split, available: int) -> int:
    """How many of a split's images are kept. UserError if more are asked for than there are."""
    size = config.train_size if split == "train" else config.test_size
    if size is not None and size > available:
        raise UserError(
            f"dataset.{split}_size: {size} is not allowed: {config.name} has {available} {split} images; "
            f"allowed: at most {available}"
        )
    return size or available


def kept_indices(config: DatasetConfig, split: Split, available: int) -> Tensor:
    """Indices, ascending, of the images of a split that are kept."""
    size = kept_size(config, split, available)
    if size == available:
        return torch.arange(available)
    chosen = numpy_generator("split", config.split_seed, ("train", "test").index(split)).permutation(available)
    return torch.from_numpy(chosen[:size]).sort().values


def kept(config: DatasetConfig, split: Split, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The images and labels of a split that are kept."""
    indices = kept_indices(config, split, len(labels))
    return (images, labels) if len(indices) == len(labels) else (images[indices], labels[indices])
