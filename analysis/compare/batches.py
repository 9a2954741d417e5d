"""Images and labels from whatever holds them: arrays, mappings, torch's data sets, loaders, any iterable of batches."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dbviz_ray.errors import UserError, one_line

IMAGES = ("images", "image", "pixel_values", "inputs", "data", "img", "x")
LABELS = ("labels", "label", "targets", "target", "y")
CLASS_NAMES = "class_names"
"""What mappings call them."""
FORMS = f"images, (images, labels), a mapping with {IMAGES[0]} and {LABELS[0]}, a torch data set, or batches of these"
BATCH = 256
MOST_IMAGES = 1_000_000


def parts_of(called: str, given: Any) -> tuple[Any, Any | None]:
    """The images of anything in `FORMS`, and its labels if it has any; batches are joined. UserError otherwise."""
    if hasattr(given, "__getitem__") and not hasattr(given, "__iter__"):
        given = DataLoader(given, BATCH)
    try:
        parts = _parts(called, given)
        if parts is None and isinstance(given, Iterable):
            return _joined(called, given)
    except UserError:
        raise
    except Exception as error:  # a user's own code may raise anything
        raise UserError(called, reason=f"cannot be loaded: {one_line(error, with_type=True)}") from error
    if parts is None:
        raise UserError(called, reason=f"is {type(given).__name__}", allowed=FORMS)
    return parts


def _parts(called: str, batch: Any) -> tuple[Any, Any | None] | None:
    """Images and labels, if `batch` is one batch (or an image and its label) and not an iterable of batches."""
    if isinstance(batch, Mapping):
        images, labels = ([name for name in names if name in batch] for names in (IMAGES, LABELS))
        others = set(batch) - {*images, CLASS_NAMES}
        if len(images) != 1 or len(labels) > 1 or (others and not labels):  # one of the others may be the labels
            allowed = f"one of {', '.join(IMAGES)}, and one of {', '.join(LABELS)} or nothing else"
            raise UserError(called, reason=f"has the entries {', '.join(map(str, batch))}", allowed=allowed)
        return batch[images[0]], batch[labels[0]] if labels else None
    if hasattr(batch, "__array__"):
        return batch, None
    if not isinstance(batch, Sequence) or len(batch) not in (1, 2) or not hasattr(batch[0], "__array__"):
        return None
    images, labels = (*batch, None)[:2]
    is_batch = np.ndim(images) > 2 >= np.ndim(labels) if len(batch) == 2 else np.ndim(images) == 4
    return (images, labels) if is_batch else None


def _joined(called: str, batches: Iterable[Any]) -> tuple[Tensor, NDArray[Any] | None]:
    """All images, and the labels that there are; an iterable that fills half of the memory is refused."""
    whole, labels, count = torch.empty(0), [], 0
    for batch in batches:
        images, own = _parts(called, batch) or (None, None)
        if images is None:
            raise UserError(called, reason=f"has a batch that is {type(batch).__name__}", allowed=FORMS)
        images, own = tensor_of(called, images), None if own is None else _array(own)
        if images.ndim == 3 and (own is None or own.ndim == 0):  # one image
            images, own = images[None], None if own is None else own[None]
        if not count:  # room for all that are allowed: only what is written takes memory, and nothing is copied again
            size = max(images[:1].nbytes, 1)
            most = min(MOST_IMAGES, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 // size)
            whole = torch.frombuffer(np.empty(most * size, np.uint8), dtype=images.dtype).view(most, *images.shape[1:])
        found, end = f"has a batch of {images.dtype} {tuple(images.shape)}", count + len(images)
        if images.ndim != 4 or (images.shape[1:], images.dtype) != (whole.shape[1:], whole.dtype):
            raise UserError(called, reason=found, allowed="[n, channels, height, width], of one size and type")
        if own is not None and len(own) != len(images):
            raise UserError(called, reason=f"{found} with {len(own)} labels", allowed="a label for each image")
        if end > len(whole):
            allowed = "fewer, such as itertools.islice(loader, 100)"
            raise UserError(called, reason=f"has more than {len(whole):,} images, or no end", allowed=allowed)
        whole[count:end] = images
        count = end
        labels += [] if own is None else [own]
    return whole[:count], np.concatenate(labels) if labels else None


def tensor_of(called: str, values: Any) -> Tensor:
    """An array, tensor, or list of numbers or tensors as a dense tensor on the CPU; UserError otherwise."""
    try:
        if isinstance(values, list | tuple) and any(isinstance(value, Tensor) for value in values):
            values = torch.stack([torch.as_tensor(value) for value in values])
        if not isinstance(values, Tensor):
            array = _array(values)
            values = torch.from_numpy(np.require(array, array.dtype.newbyteorder("="), ["C", "W"]))
        if values.is_complex() or values.is_nested:
            raise TypeError("they are complex or nested")
        dense: Tensor = values.detach().cpu().to_dense()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(called, reason=f"not an array of numbers ({one_line(error, with_type=False)})") from None
    return dense


def _array(values: Any) -> NDArray[Any]:
    parts = values if isinstance(values, list | tuple) else [values]
    if any(hasattr(value, "getbands") for value in parts):
        raise TypeError("they are Pillow's images, which torchvision.transforms.ToTensor() makes tensors")
    if any(isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value) for value in parts):
        raise TypeError("some are masked; fill them, or leave them out")
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def classes_of(called: str, labels: Any, images: int, class_names: Sequence[str] | None = None) -> Tensor:
    """int64 `[images]` from whole numbers of any type, `[images]` or `[images, 1]`, from one-hot rows, or from names.

    UserError for anything else, such as probabilities, and for labels below 0.
    """
    names = labels.tolist() if hasattr(labels, "tolist") else labels
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        places = {name: place for place, name in enumerate(() if class_names is None else class_names)}
        unknown = next((name for name in names if name not in places), None)
        if unknown is not None:
            allowed = ", ".join(places) or f"whole numbers, or names of classes with {CLASS_NAMES}"
            raise UserError(called, unknown, reason="is no class", allowed=allowed)
        labels = [places[name] for name in names]
    given = tensor_of(called, labels)
    given = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
    whole = given.long()
    is_whole = bool((whole.to(given.dtype) == given).all())
    if given.ndim == 2 and is_whole and bool(((whole >= 0) & (whole.sum(1, keepdim=True) == 1)).all()):
        whole = whole.argmax(1)
    if whole.shape != (images,) or not is_whole:
        reason = f"{given.dtype} of shape {tuple(given.shape)} is not allowed"
        raise UserError(called, reason=reason, allowed=f"a whole number for each of {images} images, or one-hot rows")
    if whole.min() < 0:
        raise UserError(called, int(whole.min()), reason="is not a class", allowed="0 and above")
    return whole
