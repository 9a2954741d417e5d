"""Labelled images as tensors, split into train and test, and the checks that make them usable."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Dataset:
    """A labelled image set, split into train and test.

    Images are uint8 `[n, channels, height, width]`, labels int64 `[n]`. Networks, planes and margins see normalised
    pixels: `(pixel / pixel_range - mean[channel]) / deviation[channel]`.
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
    """The class that asymmetric label noise turns each class into (itself: no noise); None: the next class."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    def split(self, name: str) -> tuple[Tensor, Tensor]:
        """Images and labels of the split called `name`, "train" or "test"."""
        train, test = (self.train_images, self.train_labels), (self.test_images, self.test_labels)
        return {"train": train, "test": test}[name]

    def normalised(self, pixels: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """uint8 pixels `[..., channels, height, width]` as normalised pixels of type `dtype`."""
        scale, offset = _affine(self.mean, self.deviation, self.pixel_range, dtype, pixels.device)
        return torch.addcmul(offset, pixels.to(dtype), scale)


@lru_cache(maxsize=16)
def _affine(
    mean: tuple[float, ...], deviation: tuple[float, ...], pixel_range: float, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factor and summand `[channels, 1, 1]` that normalise; cached, because making them waits for the GPU."""
    deviations = torch.tensor(deviation, dtype=dtype, device=device).view(-1, 1, 1)
    offset = -torch.tensor(mean, dtype=dtype, device=device).view(-1, 1, 1) / deviations
    return 1 / (pixel_range * deviations), offset


MOST_CLASSES = 2**16
"""A label map holds a class in two bytes."""
FEWEST_IMAGES = 2


def check_split(images: Any, labels: Any, classes: int) -> None:
    """ValueError unless images are uint8 `[n, channels, height, width]` and labels int64 `[n]`, each a class."""
    for name, tensor, dtype, dimensions in (("images", images, torch.uint8, 4), ("labels", labels, torch.int64, 1)):
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name} are {type(tensor).__name__}, not torch.Tensor")
        if tensor.dtype != dtype:
            raise ValueError(f"{name} are {tensor.dtype}, not {dtype}")
        if tensor.ndim != dimensions:
            allowed = "[n, channels, height, width]" if name == "images" else "[n]"
            raise ValueError(f"{name} have shape {list(tensor.shape)}, not {allowed}")
    if len(images) != len(labels):
        raise ValueError(f"there are {len(labels):,} labels for {len(images):,} images")
    outside = labels[(labels < 0) | (labels >= classes)]
    if len(outside):
        raise ValueError(f"label {outside[0].item()} is not a class; allowed: 0 to {classes - 1}")


def checked_split(images: Any, labels: Any, image_shape: tuple[int, ...], classes: int) -> tuple[Tensor, Tensor]:
    """A file's arrays as checked tensors: `images` uint8 `[n, *image_shape]` or flat, `labels` any integers `[n]`."""
    pixels, classes_of_images = np.asarray(images), np.asarray(labels)
    if pixels.shape[1:] not in (image_shape, (math.prod(image_shape),)):
        raise ValueError(f"images have shape {list(pixels.shape)}, not [n, {', '.join(map(str, image_shape))}]")
    shaped = torch.from_numpy(np.ascontiguousarray(pixels)).view(-1, *image_shape)
    whole = torch.from_numpy(classes_of_images.astype(np.int64, casting="same_kind"))
    check_split(shaped, whole, classes)
    return shaped, whole


def check_complete(dataset: Any) -> None:
    """ValueError or TypeError unless what a loader returned is a usable data set."""
    if not isinstance(dataset, Dataset):
        raise ValueError(f"its loader returned {type(dataset).__name__}, not dbviz_ray.datasets.Dataset")
    classes = len(dataset.class_names)
    if not 2 <= classes <= MOST_CLASSES:
        raise ValueError(f"it has {classes} classes; allowed: 2 to {MOST_CLASSES}")
    for name in ("train", "test"):
        images, labels = dataset.split(name)
        try:
            check_split(images, labels, classes)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if len(images) < FEWEST_IMAGES:
            raise ValueError(f"it has {len(images)} {name} images; allowed: at least {FEWEST_IMAGES}")
    if dataset.train_images.shape[1:] != dataset.test_images.shape[1:]:
        shapes = [list(images.shape[1:]) for images in (dataset.train_images, dataset.test_images)]
        raise ValueError(f"its train images have shape {shapes[0]} and its test images {shapes[1]}; allowed: one shape")
    channels = dataset.image_shape[0]
    for name, values in (("mean", dataset.mean), ("deviation", dataset.deviation)):
        if len(values) != channels:
            raise ValueError(f"its {name} is {values}; allowed: one number for each of {channels} channels")
    numbers = (*dataset.mean, *dataset.deviation, dataset.pixel_range)
    if not all(map(math.isfinite, numbers)) or min(*dataset.deviation, dataset.pixel_range) <= 0:
        raise ValueError(
            f"its mean is {dataset.mean}, its deviation {dataset.deviation}, its pixel_range {dataset.pixel_range}; "
            "allowed: finite numbers; deviation and pixel_range above 0"
        )
    confusions = dataset.confusions
    if confusions is not None and (len(confusions) != classes or not set(confusions) <= set(range(classes))):
        raise ValueError(f"its confusions are {confusions}; allowed: one of 0 to {classes - 1} for each class")
