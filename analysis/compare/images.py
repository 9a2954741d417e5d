"""The images that models are compared on: a data set, a .npz file, or what a function returns."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.registry import DATASETS, check_dataset, dataset_loader
from dbviz_ray.config.validation import validated
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.datasets.dataset import check_complete
from dbviz_ray.datasets.files import reading
from dbviz_ray.errors import FieldError, UserError, one_line

CHANNELS = (1, 3, 4)
"""An axis of one of these lengths holds the channels of a file's images."""
FILE = ".npz"


@dataclass(frozen=True)
class GivenImages:
    """Normalised images and their classes."""

    images: Tensor
    """float32 `[n, channels, height, width]`"""
    labels: Tensor
    """int64 `[n]`"""
    class_names: tuple[str, ...] | None
    """None if they have no names."""
    called: str
    """Such as "300 test images of digits"."""
    facts: dict[str, Any]
    """Their source, as JSON holds it."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """Number of classes; without names, one more than the largest label."""
        return len(self.class_names) if self.class_names else int(self.labels.max()) + 1


@dataclass(frozen=True)
class Scale:
    """Replaces a data set's own normalisation: `(pixel / range - mean) / deviation`, one number or one a channel."""

    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None

    def means(self, channels: int) -> tuple[float, ...] | None:
        """One for each channel; None if unset. UserError for another number of them."""
        return _by_channel("mean", self.mean, channels)

    def deviations(self, channels: int) -> tuple[float, ...] | None:
        """Likewise, all positive."""
        if self.deviation is not None and min(self.deviation) <= 0:
            raise UserError("deviation", self.deviation, allowed="positive numbers")
        return _by_channel("deviation", self.deviation, channels)


def _by_channel(field: str, values: tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    if values is not None and len(values) not in (1, channels):
        raise UserError(field, values, allowed=f"{channels} numbers, or one for all")
    return values * channels if values is not None and len(values) == 1 else values


def images_of_dataset(dataset: Dataset, split: str, scale: Scale, called: str) -> GivenImages:
    """One split of a data set, normalised."""
    images, labels = dataset.split(split)
    mean = scale.means(images.shape[1]) or dataset.mean
    deviation = scale.deviations(images.shape[1]) or dataset.deviation
    facts = {"split": split, "mean": list(mean), "deviation": list(deviation)}
    normalised = replace(dataset, mean=mean, deviation=deviation).normalised(images)
    return GivenImages(normalised, labels, dataset.class_names, f"{len(images):,} {split} images of {called}", facts)


def find_images(
    name: str, options: Mapping[str, Any], split: str | None, scale: Scale, data_directory: str
) -> GivenImages:
    """The images that the option `--data name` means, with its `--data-option`s.

    - A registered data set, or a function that a sweep would take: one split of it, by default test.
    - A path that ends in .npz: arrays `images` and `labels`, perhaps `class_names`.
    - `package.module:function`, called with the options: returns a Dataset, or images and labels.

    Raises:
        UserError: about `data`, `data_options`, `split`, `mean` or `deviation`, or about a file.
    """
    if name.endswith(FILE):
        if options:
            raise UserError("data_options", list(options), reason=f"is not allowed with {name}", allowed="none")
        facts = {"sha256": hashlib.sha256(Path(name).read_bytes()).hexdigest()} if Path(name).is_file() else {}
        return _images_of_arrays(_read_file(Path(name)), scale, split, Path(name).name, facts)
    try:
        check_dataset(name)
        loader = dataset_loader(name)
    except FieldError as error:
        mistake = error.about("data", name)
        raise UserError.of([replace(mistake, allowed=f"{mistake.allowed}, or a path that ends in {FILE}")]) from None
    except UserError as error:
        raise error.renamed(lambda _: "data") from None
    if name in DATASETS or not _takes(loader, options):
        config = validated(DatasetConfig, {"name": name, **options})
        return images_of_dataset(load_dataset(config, data_directory), split or "test", scale, name)
    try:
        returned = loader(**options)
        if isinstance(returned, Dataset):
            check_complete(returned)
    except Exception as error:  # a user's own code may raise anything
        raise UserError("data", name, reason=f"cannot be loaded: {one_line(error, with_type=True)}") from error
    if isinstance(returned, Dataset):
        return images_of_dataset(returned, split or "test", scale, name)
    if not isinstance(returned, Sequence) or len(returned) != 2:
        allowed = "a dbviz_ray.datasets.Dataset, or images and labels"
        raise UserError("data", name, reason=f"returned {type(returned).__name__}", allowed=allowed)
    return _images_of_arrays(dict(zip(("images", "labels"), returned, strict=True)), scale, split, name, {})


def _takes(function: Any, options: Mapping[str, Any]) -> bool:
    """Whether a function can be called with the options alone; a sweep's loaders take a configuration instead."""
    try:
        inspect.signature(function).bind(**options)
    except TypeError:
        return False
    return True


def _read_file(path: Path) -> dict[str, Any]:
    allowed = "allowed: images, labels and perhaps class_names, without Python objects"
    with reading(path, "a file of arrays that numpy.savez wrote", allowed), np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("images", "labels", "class_names") if name in file}


def _images_of_arrays(
    content: Mapping[str, Any], scale: Scale, split: str | None, name: str, facts: dict[str, Any]
) -> GivenImages:
    """uint8 images are divided by 255 and normalised; floats are normalised already."""
    if split is not None:
        raise UserError("split", split, reason=f"is not allowed with {name}, whose images are one set", allowed="unset")
    missing = [part for part in ("images", "labels") if part not in content]
    if missing:
        raise UserError(name, reason=f"has no array {missing[0]}", allowed="images and labels")
    images = _channels_first(name, tensor_of(f"{name}: images", content["images"]))
    labels = tensor_of(f"{name}: labels", content["labels"])
    if labels.is_floating_point() or labels.shape != images.shape[:1]:
        allowed = f"integers ({len(images)},), one for each image"
        raise UserError(f"{name}: labels", reason=array_text(labels), allowed=allowed)
    if len(images) < 3:
        raise UserError(f"{name}: images", reason=f"only {len(images)}", allowed="at least 3, which span a plane")
    if int(labels.min()) < 0:
        raise UserError(f"{name}: labels", int(labels.min()), reason="is not a class", allowed="0 and above")
    if images.dtype == torch.uint8:
        channels = images.shape[1]
        mean = scale.means(channels) or (0.0,) * channels
        deviation = scale.deviations(channels) or (1.0,) * channels
        facts |= {"mean": list(mean), "deviation": list(deviation)}
        images = (images / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(deviation).view(-1, 1, 1)
    elif not images.is_floating_point():
        allowed = "uint8, or floats that are normalised already"
        raise UserError(f"{name}: images", reason=array_text(images), allowed=allowed)
    elif scale != Scale():
        field = "mean" if scale.mean is not None else "deviation"
        raise UserError(field, reason=f"not allowed with {name}, whose images are floats", allowed="uint8 images")
    class_names = tuple(map(str, content["class_names"])) if "class_names" in content else None
    return GivenImages(images.float(), labels.long(), class_names, f"{len(images):,} images of {name}", facts)


def tensor_of(called: str, values: Any) -> Tensor:
    """An array, tensor or nested list of numbers as a tensor; UserError otherwise."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(called, reason=f"not an array of numbers ({one_line(error, with_type=False)})") from None


def array_text(values: Tensor) -> str:
    """Such as "torch.uint8 of shape (5, 8, 8) is not allowed"."""
    return f"{values.dtype} of shape {tuple(values.shape)} is not allowed"


def _channels_first(name: str, images: Tensor) -> Tensor:
    """`[n, channels, height, width]` from that, from `[n, height, width]` or from `[n, height, width, channels]`."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in CHANNELS:
        return images.movedim(3, 1)
    allowed = "[n, channels, height, width], [n, height, width] or [n, height, width, channels]; 1, 3 or 4 channels"
    raise UserError(f"{name}: images", reason=array_text(images), allowed=allowed)
