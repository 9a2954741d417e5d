"""Which images of a data set a configuration keeps, and how many that leaves, known without loading where possible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.registry import DATASETS
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets import digits
from dbviz_ray.datasets.dataset import FEWEST_IMAGES, Dataset
from dbviz_ray.errors import UserError

Split = Literal["train", "test"]
ImageShape = tuple[int, int, int]
SPLITS: tuple[Split, Split] = ("train", "test")
HELD_OUT_DRAW = 2
"""Counter in the stream "split"; 0 and 1 draw the kept training and test images."""
PUBLISHED: dict[str, tuple[ImageShape, int, int, int]] = {
    "cifar10": ((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": ((3, 32, 32), 100, 50_000, 10_000),
    "svhn": ((3, 32, 32), 10, 73_257, 26_032),
    "fashion_mnist": ((1, 28, 28), 10, 60_000, 10_000),
}
"""Image shape, classes, training and test images."""


def check_fields(config: DatasetConfig) -> None:
    """UserError if a field is set that the data set ignores, or if it needs a field that is unset."""
    if config.held_out is not None and config.test_size is not None:
        reason = f"is not allowed with held_out={config.held_out}: the held-out images replace the test images"
        raise UserError("dataset.test_size", config.test_size, reason=reason, allowed="unset")
    if config.name == "image_folder":
        if config.folder is None:
            allowed = "a folder that holds train/CLASS/* and test/CLASS/*"
            raise UserError("dataset.folder", reason="unset is not allowed with image_folder", allowed=allowed)
    elif config.name in DATASETS:
        for name in ("folder", "image_size"):
            value = getattr(config, name)
            if value is not None:
                reason = f"is not allowed with {config.name}"
                raise UserError(f"dataset.{name}", value, reason=reason, allowed="unset")


def sizes_of(config: DatasetConfig) -> tuple[ImageShape, int, int, int] | None:
    """Image shape, classes, training and test images of `load_dataset(config)`; None if it has to be loaded first.

    Raises UserError for settings that `load_dataset` refuses.
    """
    check_fields(config)
    if config.name == "digits":
        return (1, 8, 8), 10, *_without_held_out(config, *digits.split_sizes(config))
    if config.name not in PUBLISHED:
        return None
    shape, classes, train, test = PUBLISHED[config.name]
    kept_sizes = _kept_size(config, "train", train), _kept_size(config, "test", test)
    return shape, classes, *_without_held_out(config, *kept_sizes)


def _kept_size(config: DatasetConfig, split: Split, available: int) -> int:
    size = config.train_size if split == "train" else config.test_size
    if size is not None and size > available:
        reason = f"is not allowed: {config.name} has {available} {split} images"
        raise UserError(f"dataset.{split}_size", size, reason=reason, allowed=f"at most {available}")
    return size or available


def _without_held_out(config: DatasetConfig, train: int, test: int) -> tuple[int, int]:
    """Training and test images after `config.held_out` are set aside. UserError if too few are left to train on."""
    if config.held_out is None:
        return train, test
    most = train - FEWEST_IMAGES
    if config.held_out > most:
        reason = f"is not allowed: {config.name} has {train} training images"
        raise UserError("dataset.held_out", config.held_out, reason=reason, allowed=f"at most {most}")
    return train - config.held_out, config.held_out


def kept_indices(config: DatasetConfig, split: Split, available: int) -> Tensor:
    """Ascending indices of the images of a split that `train_size` or `test_size` keeps. UserError if it is larger."""
    size = _kept_size(config, split, available)
    if size == available:
        return torch.arange(available)
    chosen = numpy_generator("split", config.split_seed, SPLITS.index(split)).permutation(available)
    return torch.from_numpy(chosen[:size]).sort().values


def kept(config: DatasetConfig, dataset: Dataset) -> Dataset:
    """`dataset` with the images that `train_size` and `test_size` keep, drawn by `split_seed`."""
    tensors: dict[str, Any] = {}
    for split in SPLITS:
        images, labels = dataset.split(split)
        indices = kept_indices(config, split, len(labels))
        if len(indices) < len(labels):
            tensors |= {f"{split}_images": images[indices], f"{split}_labels": labels[indices]}
    return replace(dataset, **tensors)


def with_held_out(dataset: Dataset, config: DatasetConfig) -> Dataset:
    """`dataset` with `config.held_out` of its training images in place of its test images.

    `split_seed` draws them from the training images that `train_size` keeps, which leaves `train_size - held_out` to
    train on. No test image that the same `train_size` leaves is ever among them.
    """
    if config.held_out is None:
        return dataset
    total = len(dataset.train_labels)
    _without_held_out(config, total, len(dataset.test_labels))
    shuffled = torch.from_numpy(numpy_generator("split", config.split_seed, HELD_OUT_DRAW).permutation(total))
    held_out = shuffled[: config.held_out].sort().values
    rest = shuffled[config.held_out :].sort().values
    images, labels = dataset.split("train")
    return replace(
        dataset,
        train_images=images[rest],
        train_labels=labels[rest],
        test_images=images[held_out],
        test_labels=labels[held_out],
    )
