"""The images that models are compared on: a data set, a .npz file, what a function returns, or tensors."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig, ResourcesConfig
from dbviz_ray.config.registry import DATASETS, check_dataset, dataset_loader
from dbviz_ray.config.validation import validated
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.datasets.dataset import check_complete
from dbviz_ray.datasets.files import reading
from dbviz_ray.errors import FieldError, UserError, one_line
from dbviz_ray.evaluation.run_models import RunModel

if TYPE_CHECKING:
    from dbviz_ray.score import Request

CHANNELS = (1, 3, 4)
"""An axis of one of these lengths holds the channels of a file's images."""
FILE = ".npz"
ARRAYS = ("images", "labels", "class_names")
"""What a .npz file may hold; the last one is optional."""


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
    remarks: tuple[str, ...] = ()

    @property
    def classes(self) -> int:
        """Number of classes; without names, one more than the largest label."""
        return len(self.class_names) if self.class_names else int(self.labels.max()) + 1


def find_images(request: Request, runs: Sequence[RunModel]) -> GivenImages:
    """The images that the option `--data` means; without it those of the sweep that trained the models `runs`.

    - A registered data set, or a function that a sweep would take: one split of it, by default test.
    - A path that ends in .npz: arrays `images` and `labels`, perhaps `class_names`.
    - `package.module:function`, called with the `--data-option`s: returns a Dataset, or images and labels.

    Raises:
        UserError: about `data`, `data_options`, `split`, `mean` or `deviation`, or about a file.
    """
    name, options = request.data, request.data_options
    if name is None:
        return _images_of_runs(request, runs)
    if name.endswith(FILE):
        if options:
            raise UserError("data_options", list(options), reason=f"is not allowed with {name}", allowed="none")
        path = Path(name)
        content = _read_file(path)
        return _images_of_arrays(request, path.name, content, {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
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
        directory = request.data_directory or ResourcesConfig().data_directory
        return _images_of_dataset(request, load_dataset(config, directory), name)
    try:
        returned = loader(**options)
        if isinstance(returned, Dataset):
            check_complete(returned)
    except Exception as error:  # a user's own code may raise anything
        raise UserError("data", name, reason=f"cannot be loaded: {one_line(error, with_type=True)}") from error
    if isinstance(returned, Dataset):
        return _images_of_dataset(request, returned, name)
    if not isinstance(returned, Sequence) or len(returned) != 2:
        allowed = "a dbviz_ray.datasets.Dataset, or images and labels"
        raise UserError("data", name, reason=f"returned {type(returned).__name__}", allowed=allowed)
    return _images_of_arrays(request, name, dict(zip(ARRAYS, returned, strict=False)), {})


def _takes(function: Any, options: Mapping[str, Any]) -> bool:
    """Whether a function can be called with the options alone; a sweep's loaders take a configuration instead."""
    try:
        inspect.signature(function).bind(**options)
    except TypeError:
        return False
    return True


def _images_of_runs(request: Request, runs: Sequence[RunModel]) -> GivenImages:
    if not runs:
        allowed = "a data set, a .npz file, or package.module:function"
        raise UserError("data", reason="required for weight files", allowed=allowed)
    if request.data_options:
        raise UserError("data_options", reason="not allowed without --data")
    first, *others = [run.config for run in runs]
    for other in others:
        if other.dataset != first.dataset:
            sets = {model.model_id: model.dataset.model_dump(exclude_none=True) for model in (first, other)}
            trained = [f"{model_id} was trained on {fields}" for model_id, fields in sets.items()]
            raise UserError("data", reason=f"required, since {' and '.join(trained)}")
    dataset = load_dataset(first.dataset, request.data_directory or runs[0].data_directory)
    return _images_of_dataset(request, dataset, first.dataset.name)


def _images_of_dataset(request: Request, dataset: Dataset, called: str) -> GivenImages:
    split = request.split or "test"
    images, labels = dataset.split(split)
    scaled = _scaled(request, dataset)
    facts = {"split": split, "mean": list(scaled.mean), "deviation": list(scaled.deviation)}
    what = f"{len(images):,} {split} images of {called}"
    return GivenImages(scaled.normalised(images), labels, dataset.class_names, what, facts)


def _scaled(request: Request, dataset: Dataset) -> Dataset:
    """The data set, normalised by `--mean` and `--deviation` where these are given."""
    channels = dataset.image_shape[0]
    given = {name: getattr(request, name) for name in ("mean", "deviation") if getattr(request, name) is not None}
    for field, values in given.items():
        if len(values) not in (1, channels):
            raise UserError(field, values, allowed=f"{channels} numbers, or one for all")
    if min(given.get("deviation", dataset.deviation)) <= 0:
        raise UserError("deviation", given["deviation"], allowed="positive numbers")
    return replace(dataset, **{field: values * (channels // len(values)) for field, values in given.items()})


def _read_file(path: Path) -> dict[str, Any]:
    allowed = "allowed: images, labels and perhaps class_names, without Python objects"
    with reading(path, "a file of arrays that numpy.savez wrote", allowed), np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ARRAYS if name in file}


def _images_of_arrays(request: Request, name: str, content: Mapping[str, Any], facts: dict[str, Any]) -> GivenImages:
    """uint8 images are divided by 255 and normalised; floats are normalised already."""
    if request.split is not None:
        reason = f"is not allowed with {name}, whose images are one set"
        raise UserError("split", request.split, reason=reason, allowed="unset")
    missing = [part for part in ARRAYS[:2] if part not in content]
    if missing:
        raise UserError(name, reason=f"has no array {missing[0]}", allowed="images and labels")
    images = _channels_first(name, tensor_of(f"{name}: images", content["images"]))
    labels = tensor_of(f"{name}: labels", content["labels"])
    class_names = tuple(map(str, content["class_names"])) if "class_names" in content else None
    if images.dtype == torch.uint8:
        zeros, ones = (0.0,) * images.shape[1], (1.0,) * images.shape[1]
        scaled = _scaled(request, Dataset(images, labels, images, labels, (), zeros, ones))
        facts = {**facts, "mean": list(scaled.mean), "deviation": list(scaled.deviation)}
        images = scaled.normalised(images)
    elif not images.is_floating_point():
        raise _unusable(f"{name}: images", images, "uint8, or floats that are normalised already")
    elif request.mean is not None or request.deviation is not None:
        field = "deviation" if request.mean is None else "mean"
        raise UserError(field, reason=f"not allowed with {name}, whose images are floats", allowed="uint8 images")
    images, labels = images_and_labels(images.float(), labels, f"{name}: ")
    return GivenImages(images, labels, class_names, f"{len(images):,} images of {name}", facts)


def images_and_labels(images: Any, labels: Any, source: str = "") -> tuple[Tensor, Tensor]:
    """Images float `[n, channels, height, width]` and labels int64 `[n]`, on the CPU; UserError otherwise.

    `source` stands before the fields of the error, such as "photos.npz: ".
    """
    image_tensor, label_tensor = tensor_of(f"{source}images", images), tensor_of(f"{source}labels", labels)
    if image_tensor.ndim != 4 or not image_tensor.is_floating_point():
        allowed = "floating-point [n, channels, height, width], normalised as the models expect them"
        raise _unusable(f"{source}images", image_tensor, allowed)
    if label_tensor.shape != image_tensor.shape[:1] or label_tensor.is_floating_point():
        raise _unusable(f"{source}labels", label_tensor, f"integers ({len(image_tensor)},), one for each image")
    if len(image_tensor) < 3:
        raise UserError(f"{source}images", reason=f"only {len(image_tensor)}", allowed="at least 3, which span a plane")
    if not image_tensor.isfinite().all():
        raise UserError(f"{source}images", reason="some of their pixels are not finite", allowed="finite numbers")
    if label_tensor.min() < 0:
        raise UserError(f"{source}labels", int(label_tensor.min()), reason="is not a class", allowed="0 and above")
    return image_tensor.cpu(), label_tensor.long().cpu()


def tensor_of(called: str, values: Any) -> Tensor:
    """An array, tensor or nested list of numbers as a tensor; UserError otherwise."""
    try:
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(called, reason=f"not an array of numbers ({one_line(error, with_type=False)})") from None


def _unusable(called: str, values: Tensor, allowed: str) -> UserError:
    return UserError(called, reason=f"{values.dtype} of shape {tuple(values.shape)} is not allowed", allowed=allowed)


def _channels_first(name: str, images: Tensor) -> Tensor:
    """`[n, channels, height, width]` from that, from `[n, height, width]` or from `[n, height, width, channels]`."""
    if images.ndim == 3:
        return images[:, None]
    if images.ndim == 4 and images.shape[1] in CHANNELS:
        return images
    if images.ndim == 4 and images.shape[3] in CHANNELS:
        return images.movedim(3, 1)
    allowed = "[n, channels, height, width], [n, height, width] or [n, height, width, channels]; 1, 3 or 4 channels"
    raise _unusable(f"{name}: images", images, allowed)
