"""Keeping a part of a split, drawn once by its seed."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets.dataset import FEWEST_IMAGES, Dataset
from dbviz_ray.errors import UserError

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


DRAW = 2
"""Counter in the stream "split"; 0 and 1 draw the kept training and test images."""


def split_sizes(config: DatasetConfig, train: int, test: int) -> tuple[int, int]:
    """Training and test images once `config.held_out` of the `train` are set aside. UserError if too few are left."""
    if config.held_out is None:
        return train, test
    if config.held_out > train - FEWEST_IMAGES:
        raise UserError(
            f"dataset.held_out: {config.held_out} is not allowed: {config.name} has {train} training images; "
            f"allowed: at most {train - FEWEST_IMAGES}"
        )
    return train - config.held_out, config.held_out


def with_held_out(dataset: Dataset, config: DatasetConfig) -> Dataset:
    """`dataset` with `config.held_out` of its training images in place of its test images.

    They are drawn by `split_seed` out of the training images that `train_size` keeps, so `train_size - held_out`
    are left to train on, and none that the same `train_size` leaves to the test set is ever among them.
    """
    if config.held_out is None:
        return dataset
    total = len(dataset.train_labels)
    split_sizes(config, total, len(dataset.test_labels))
    shuffled = torch.from_numpy(numpy_generator("split", config.split_seed, DRAW).permutation(total))
    held_out = shuffled[: config.held_out].sort().values
    rest = shuffled[config.held_out :].sort().values
    return replace(
        dataset,
        train_images=dataset.train_images[rest],
        train_labels=dataset.train_labels[rest],
        test_images=dataset.train_images[held_out],
        test_labels=dataset.train_labels[held_out],
    )
