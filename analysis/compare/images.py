"""The images that models are compared on: a data set, a .npz file, what a function returns, tensors or a loader."""

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

from .batches import CLASS_NAMES, IMAGES, LABELS, classes_of, parts_of, tensor_of

if TYPE_CHECKING:
    from dbviz_ray.score import Request

CHANNELS = (1, 3, 4)
"""An axis of one of these lengths holds the channels of a file's images."""
FILE = ".npz"
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
LARGE = 100
"""Pixels above it are hardly normalised."""


@dataclass(frozen=True)
class GivenImages:
    """Normalised images and their classes."""

    images: Tensor
    """float32 `[n, channels, height, width]`"""
    labels: Tensor | None
    """int64 `[n]`; None if they are unknown."""
    class_names: tuple[str, ...] | None
    """None if they have no names."""
    called: str
    """Such as "300 test images of digits"."""
    facts: dict[str, Any]
    """Their source, as JSON holds it."""
    remarks: tuple[str, ...] = ()
    """Sentences that say what was assumed about them."""

    @property
    def classes(self) -> int | None:
        """Number of classes; without names, one more than the largest label; without labels None."""
        if self.class_names:
            return len(self.class_names)
        return None if self.labels is None else int(self.labels.max()) + 1


def find_images(request: Request, runs: Sequence[RunModel]) -> GivenImages:
    """The images that the option `--data` means; without it those of the sweep that trained the models `runs`.

    - A registered data set, or a function that a sweep would take: one split of it, by default test.
    - A path that ends in .npz: the array `images`, perhaps `labels` and `class_names`.
    - `package.module:function`, called with the `--data-option`s: returns a Dataset, or anything `parts_of` takes.

    UserError about `data`, `data_options`, `split`, `mean` or `deviation`, or about a file.
    """
    name, options = request.data, request.data_options
    if name is None:
        return _images_of_runs(request, runs)
    if name.endswith(FILE):
        if options:
            raise UserError("data_options", list(options), reason=f"is not allowed with {name}", allowed="none")
        path = Path(name)
        content = _read_file(path)
        return _images_of_arrays(request, path.name, content, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    try:
        check_dataset(name)
        loader = dataset_loader(name)
    except FieldError as error:
        mistake = error.about("data", name)
        raise UserError.of([replace(mistake, allowed=f"{mistake.allowed}, or a path that ends in {FILE}")]) from None
    except UserError as error:
        raise error.renamed(lambda _: "data") from None
    except Exception as error:  # a user's own code may raise anything
        raise UserError("data", name, reason=f"cannot be imported: {one_line(error, with_type=True)}") from error
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
    return _images_of_arrays(request, name, returned)


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
            one, two = (
                f"{of.model_id} was trained on {of.dataset.model_dump(exclude_none=True)}" for of in (first, other)
            )
            raise UserError("data", reason=f"required, since {one} and {two}")
    dataset = load_dataset(first.dataset, request.data_directory or runs[0].data_directory)
    return _images_of_dataset(request, dataset, first.dataset.name)


def _images_of_dataset(request: Request, dataset: Dataset, called: str) -> GivenImages:
    split = request.split or "test"
    images, labels = dataset.split(split)
    scaled = _scaled(request, dataset)
    facts = {"split": split, "mean": list(scaled.mean), "deviation": list(scaled.deviation)}
    what = f"{len(images):,} {split} images of {called}"
    remarks = _assumed(request, scaled, called) if request.data else ()
    return GivenImages(scaled.normalised(images), labels, dataset.class_names, what, facts, remarks)


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


def _assumed(request: Request, scaled: Dataset, called: str) -> tuple[str, ...]:
    """A sentence that says what replaces `--mean` and `--deviation` where they are not given."""
    unset = {name: getattr(scaled, name) for name in ("mean", "deviation") if getattr(request, name) is None}
    if not unset:
        return ()
    taken = " and ".join(f"{name} {', '.join(map('{:.4g}'.format, values))}" for name, values in unset.items())
    options = " and ".join(f"no --{name}" for name in unset)
    return (f"With {options}, pixels of {called} are divided by {scaled.pixel_range:g} and normalised with {taken}.",)


def _read_file(path: Path) -> dict[str, Any]:
    """The arrays of a file; None for those of unknown names."""
    known = (*IMAGES, *LABELS, CLASS_NAMES)
    allowed = f"allowed: images, perhaps labels and {CLASS_NAMES}, without Python objects"
    with reading(path, "a file of arrays that numpy.savez wrote", allowed), np.load(path, allow_pickle=False) as file:
        return {name: file[name] if name in known else None for name in file}


def _images_of_arrays(request: Request, name: str, given: Any, **facts: Any) -> GivenImages:
    """uint8 images are divided by 255 and normalised; floats are normalised already."""
    if request.split is not None:
        reason = f"is not allowed with {name}, whose images are one set"
        raise UserError("split", request.split, reason=reason, allowed="unset")
    images, labels = parts_of(name, given)
    images = _channels_first(name, tensor_of(f"{name}: images", images))
    named = given.get(CLASS_NAMES) if isinstance(given, Mapping) else None
    class_names = None if named is None else tuple(map(str, named))
    remarks: tuple[str, ...] = ()
    if images.dtype == torch.uint8:
        zeros, ones, no = (0.0,) * images.shape[1], (1.0,) * images.shape[1], torch.empty(0)
        scaled = _scaled(request, Dataset(images, no, images, no, (), zeros, ones))
        facts |= {"mean": list(scaled.mean), "deviation": list(scaled.deviation)}
        images, remarks = scaled.normalised(images), _assumed(request, scaled, name)
    elif not images.is_floating_point():
        raise _unusable(f"{name}: images", images, "uint8, or floats that are normalised already")
    elif request.mean is not None or request.deviation is not None:
        field = "deviation" if request.mean is None else "mean"
        raise UserError(field, reason=f"not allowed with {name}, whose images are floats", allowed="uint8 images")
    elif images.numel() and images.max() > LARGE:
        remarks = (f"The pixels of {name} reach {images.max():g}; as floats they are taken as normalised.",)
    images, labels = images_and_labels(images.float(), labels, f"{name}: ", class_names)
    return GivenImages(images, labels, class_names, f"{len(images):,} images of {name}", facts, remarks)


def images_and_labels(
    images: Any, labels: Any | None = None, source: str = "", class_names: Sequence[str] | None = None
) -> tuple[Tensor, Tensor | None]:
    """Images float `[n, channels, height, width]` and labels int64 `[n]` if there are any, on the CPU.

    Without labels `images` may be anything that `parts_of` takes, such as a loader. Labels may be what `classes_of`
    takes. `source` stands before the fields of the UserError for anything else, such as "photos.npz: ".
    """
    if labels is None:
        images, labels = parts_of(f"{source}images", images)
    tensor = tensor_of(f"{source}images", images)
    if tensor.ndim != 4 or 0 in tensor.shape[1:] or tensor.dtype not in FLOATS:
        allowed = "floating-point [n, channels, height, width], normalised as the models expect them"
        raise _unusable(f"{source}images", tensor, allowed)
    if len(tensor) < 3:
        raise UserError(f"{source}images", reason=f"only {len(tensor)}", allowed="at least 3, which span a plane")
    if not torch.stack(tensor.aminmax()).isfinite().all():  # isfinite of all pixels takes their memory twice
        raise UserError(f"{source}images", reason="some of their pixels are not finite", allowed="finite numbers")
    return tensor, None if labels is None else classes_of(f"{source}labels", labels, len(tensor), class_names)


def _unusable(called: str, values: Tensor, allowed: str) -> UserError:
    return UserError(called, reason=f"{values.dtype} of shape {tuple(values.shape)} is not allowed", allowed=allowed)


def _channels_first(name: str, images: Tensor) -> Tensor:
    """`[n, channels, height, width]` from that, from `[n, height, width]` or from `[n, height, width, channels]`."""
    if images.ndim == 3:
        return images[:, None]
    axes = [axis for axis in (1, 3) if images.ndim == 4 and images.shape[axis] in CHANNELS]
    if len(axes) == 1:
        return images.movedim(axes[0], 1)
    allowed = (
        "[n, height, width], or [n, channels, height, width] or [n, height, width, channels] with 1, 3 or 4 channels"
    )
    raise _unusable(f"{name}: images", images, allowed)
