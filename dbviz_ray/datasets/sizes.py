"""Sizes of the registered data sets, told without loading them."""

from __future__ import annotations

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import digits, held_out
from dbviz_ray.datasets.fields import check_fields
from dbviz_ray.datasets.subsets import kept_size

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
