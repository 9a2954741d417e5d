"""The images on which a user's own models are compared: a data set, a .npz file, or what a function returns."""

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
"""Numbers by which the channels of a file's images are told from their sides."""
FILE = ".npz"


@dataclass(frozen=True)
class GivenImages:
    """Normalised images and their classes."""

    images: Tensor
    """float32 `[n, channels, height, width]`"""
    labels: Tensor
    """int64 `[n]`"""
    class_names: tuple[str, ...] | None
    """None where nothing names them."""
    called: str
    """What they are, in a few words."""
    facts: dict[str, Any]
    """Where they come from, as JSON can hold it."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def classes(self) -> int:
        """How many classes there are; where nothing names them, one more than the largest label."""
        return len(self.class_names) if self.class_names else int(self.labels.max()) + 1


@dataclass(frozen=True)
class Scale:
    """What replaces a data set's own normalisation: `(pixel / range - mean) / deviation`, a number a channel or one."""

    mean: tuple[float, ...] | None = None
    deviation: tuple[float, ...] | None = None


def images_of_dataset(dataset: Dataset, split: str, scale: Scale, called: str) -> GivenImages:
    """One split of a data set, normalised."""
    images, labels = dataset.split(split)
    rescaled = replace(
        dataset,
        mean=_by_channel("--mean", scale.mean, images.shape[1]) or dataset.mean,
        deviation=_by_channel("--deviation", scale.deviation, images.shape[1]) or dataset.deviation,
    )
    facts = {"split": split, "mean": list(rescaled.mean), "deviation": list(rescaled.deviation)}
    named = f"{len(images):,} {split} images of {called}"
    return GivenImages(rescaled.normalised(images), labels, dataset.class_names, named, facts)


def find_images(
    name: str, options: Mapping[str, Any], split: str | None, scale: Scale, data_directory: str
) -> GivenImages:
    """The images that `--data name` stands for, with its `--data-option`s.

    - a registered data set, or a function that a sweep would take: one split of it, by default test;
    - a path that ends in .npz: arrays `images` and `labels`, perhaps `class_names`;
    - `package.module:function`, called with the options: a Dataset, or images and labels.

    Raises:
        UserError: naming what is not usable.
    """
    if name.endswith(FILE):
        _refuse_options(name, options)
        content = _read_file(Path(name))
        facts = {"sha256": hashlib.sha256(Path(name).read_bytes()).hexdigest()}
        return _images_of_arrays(content, scale, split, Path(name).name, facts)
    try:
        check_dataset(name)
    except FieldError as error:
        mistake = error.about("--data", name)
        raise UserError.of([replace(mistake, allowed=f"{mistake.allowed}, or a path that ends in {FILE}")]) from None
    try:
        loader = dataset_loader(name)
    except UserError as error:
        raise UserError(f"--data: {error}") from None
    if name in DATASETS or not _takes(loader, (), options):
        config = validated(DatasetConfig, {"name": name, **options})
        return images_of_dataset(load_dataset(config, data_directory), split or "test", scale, name)
    try:
        returned = loader(**options)
    except Exception as error:  # a user's own code may raise anything
        raise UserError(f"--data: {name} cannot be loaded: {one_line(error, with_type=True)}") from error
    if isinstance(returned, Dataset):
        try:
            check_complete(returned)
        except (TypeError, ValueError) as error:
            raise UserError(f"--data: {name} is not usable: {one_line(error)}") from None
        return images_of_dataset(returned, split or "test", scale, name)
    if not isinstance(returned, Sequence) or len(returned) != 2:
        raise UserError(
            f"--data: {name} returned {type(returned).__name__}; allowed: a dbviz_ray.datasets.Dataset, or images and "
            "labels"
        )
    return _images_of_arrays(dict(zip(("images", "labels"), returned, strict=True)), scale, split, name, {})


def _takes(function: Any, positional: Sequence[Any], options: Mapping[str, Any]) -> bool:
    """Whether a function can be called so; a sweep's own loaders take a configuration and a directory as well."""
    try:
        inspect.signature(function).bind(*positional, **options)
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
    """Images uint8, which are divided by 255 and normalised, or floats, which are normalised already."""
    if split is not None:
        raise UserError(f"--split: {split} is not allowed with {name}, whose images are one set; allowed: unset")
    missing = [part for part in ("images", "labels") if part not in content]
    if missing:
        raise UserError(f"{name}: has no array {missing[0]}; allowed: images and labels")
    images = _channels_first(name, tensor_of(f"{name}: images", content["images"]))
    labels = tensor_of(f"{name}: labels", content["labels"])
    if labels.is_floating_point() or labels.shape != images.shape[:1]:
        raise UserError(
            f"{name}: labels are {labels.dtype} of shape {list(labels.shape)}; allowed: integers [{len(images)}], one "
            "for each image"
        )
    if len(images) < 3:
        raise UserError(f"{name}: images: {len(images)} of them are too few; allowed: at least 3, which span a plane")
    if int(labels.min()) < 0:
        raise UserError(f"{name}: label {int(labels.min())} is not a class; allowed: 0 and above")
    if images.dtype == torch.uint8:
        mean = _by_channel("--mean", scale.mean, images.shape[1]) or (0.0,) * images.shape[1]
        deviation = _by_channel("--deviation", scale.deviation, images.shape[1]) or (1.0,) * images.shape[1]
        facts |= {"mean": list(mean), "deviation": list(deviation)}
        images = (images / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(deviation).view(-1, 1, 1)
    elif not images.is_floating_point():
        raise UserError(f"{name}: images are {images.dtype}; allowed: uint8, or floats that are normalised already")
    elif scale != Scale():
        raise UserError(f"--mean, --deviation: not allowed with {name}, whose images are floats; allowed: uint8 images")
    class_names = tuple(map(str, content["class_names"])) if "class_names" in content else None
    return GivenImages(images.float(), labels.long(), class_names, f"{len(images):,} images of {name}", facts)


def tensor_of(called: str, values: Any) -> Tensor:
    """An array, tensor or nested list of numbers as a tensor; UserError otherwise."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{called} are not an array of numbers ({one_line(error, with_type=False)})") from None


def _channels_first(name: str, images: Tensor) -> Tensor:
    """`[n, channels, height, width]`, of that, of `[n, height, width]` or of `[n, height, width, channels]`."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in CHANNELS:
        return images.movedim(3, 1)
    raise UserError(
        f"{name}: images have shape {list(images.shape)}; allowed: [n, channels, height, width], [n, height, width] or "
        "[n, height, width, channels] with 1, 3 or 4 channels"
    )


def _by_channel(option: str, values: tuple[float, ...] | None, channels: int) -> tuple[float, ...] | None:
    if values is None:
        return None
    if len(values) not in (1, channels) or (option == "--deviation" and min(values) <= 0):
        sign = "positive " * (option == "--deviation")
        raise UserError(f"{option}: {list(values)} is not allowed; allowed: {channels} {sign}numbers, or one for all")
    return values if len(values) == channels else values * channels


def _refuse_options(name: str, options: Mapping[str, Any]) -> None:
    if options:
        raise UserError(f"--data-option: {next(iter(options))} is not allowed with {name}; allowed: none")
