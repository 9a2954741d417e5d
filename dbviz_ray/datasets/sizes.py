"""Sizes of the registered data sets, told without loading them."""

from __future__ import annotations

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.registry import DATASETS
from dbviz_ray.datasets import digits
from dbviz_ray.datasets import subsets as held_out
from dbviz_ray.datasets.subsets import kept_size
from dbviz_ray.errors import UserError

ImageShape = tuple[int, int, int]

PUBLISHED: dict[str, tuple[ImageShape, int, int, int]] = {
    "cifar10": ((3, 32, 32), 10, 50_000, 10_000),
    "cifar100": ((3, 32, 32), 100, 50_000, 10_000),
    "svhn": ((3, 32, 32), 10, 73_257, 26_032),
    "fashion_mnist": ((1, 28, 28), 10, 60_000, 10_000),
}
"""Image shape, classes, training and test images."""


def sizes_of(config: DatasetConfig) -> tuple[ImageShape, int, int, int] | None:
    """Image shape, classes, training and test images of what `load_dataset` would return; None if only it can tell.

    Raises UserError for the settings that it would refuse.
    """
    check_fields(config)
    if config.name == "digits":
        return (1, 8, 8), 10, *held_out.split_sizes(config, *digits.split_sizes(config))
    if config.name not in PUBLISHED:
        return None
    shape, classes, train, test = PUBLISHED[config.name]
    kept = kept_size(config, "train", train), kept_size(config, "test", test)
    return shape, classes, *held_out.split_sizes(config, *kept)


def check_fields(config: DatasetConfig) -> None:
    """UserError if a field is set that the data set does not use, or is not set and must be."""
    if config.held_out is not None and config.test_size is not None:
        raise UserError(
            f"dataset.test_size: {config.test_size} is not allowed with held_out={config.held_out}, whose images "
            "replace the test images; allowed: unset"
        )
    if config.name == "image_folder":
        if config.folder is None:
            raise UserError(
                "dataset.folder: unset is not allowed with image_folder; allowed: a folder that holds train/CLASS/* "
                "and test/CLASS/*"
            )
    elif config.name in DATASETS:
        for name in ("folder", "image_size"):
            value = getattr(config, name)
            if value is not None:
                raise UserError(f"dataset.{name}: {value} is not allowed with {config.name}; allowed: unset")
