"""A user's own images, sorted into folders by split and class."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile, ImageOps
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets.dataset import Dataset
from dbviz_ray.datasets.draws import IMAGE_FOLDER, SPLITS, Split, kept_indices
from dbviz_ray.datasets.files import reading
from dbviz_ray.errors import UserError, printable
from dbviz_ray.store.files import IMAGE_FORMATS
from dbviz_ray.terminal.progress import say

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
"""Pillow's names of those kinds of pixels that have one meaning in 8-bit RGB."""


def load_image_folder(config: DatasetConfig, directory: Path) -> Dataset:
    """Images of `config.folder`: train/CLASS/* and test/CLASS/*; nothing is in the data directory.

    Images are turned upright, read as 8-bit RGB, and resized bilinearly to squares of `config.image_size` pixels, if
    that is set. The classes are the folders of train, sorted by name. Mean and deviation are the kept training
    images'; a constant channel has deviation 1.
    """
    folder = Path(config.folder or "").expanduser()
    names = _class_names(folder / "train")
    unknown = sorted(set(_class_names(folder / "test")) - set(names))
    if unknown:
        allowed = f"the folders of {folder / 'train'}"
        raise UserError(str(folder / "test" / unknown[0]), reason="not a class", allowed=allowed)
    (train_files, train_labels), (test_files, test_labels) = (_kept(config, folder, split, names) for split in SPLITS)
    images = _read([*train_files, *test_files], config.image_size)
    train_images, test_images = images.split([len(train_files), len(test_files)])
    return Dataset(train_images, train_labels, test_images, test_labels, names, *_scale(train_images))


def _class_names(split: Path) -> tuple[str, ...]:
    if not split.is_dir():
        raise UserError("dataset.folder", reason=f"there is no folder {split}", allowed=IMAGE_FOLDER)
    return tuple(sorted(entry.name for entry in split.iterdir() if entry.is_dir() and not entry.name.startswith(".")))


def _kept(config: DatasetConfig, folder: Path, split: Split, names: Sequence[str]) -> tuple[list[Path], Tensor]:
    """A split's image files that are kept, sorted by class and path, and their labels int64 `[n]`."""
    from torchvision.datasets.folder import IMG_EXTENSIONS, make_dataset

    classes = {name: label for label, name in enumerate(names)}
    place = str(folder / split)
    named = make_dataset(place, classes, extensions=IMG_EXTENSIONS, allow_empty=True) if classes else []
    listed = [(path, label) for path, label in named if os.path.isfile(path)]  # a pipe would be waited for
    if len(listed) < len(named):
        say("images", f"{len(named) - len(listed)} entries of {printable(place)} are no files and are left out")
    if not listed:
        raise UserError(place, reason="holds no images", allowed=f"CLASS/* that end in {', '.join(IMG_EXTENSIONS)}")
    kept = [listed[index] for index in kept_indices(config, split, len(listed)).tolist()]
    return [Path(path) for path, _ in kept], torch.tensor([label for _, label in kept])


def _read(files: Sequence[Path], image_size: int | None) -> Tensor:
    """Uint8 `[n, 3, height, width]`."""
    images = torch.empty((len(files), *_pixels(files[0], image_size).shape), dtype=torch.uint8)
    for index, path in enumerate(files):
        pixels = _pixels(path, image_size)
        if pixels.shape != images.shape[1:]:
            (height, width), (other_height, other_width) = images.shape[2:], pixels.shape[1:]
            sizes = f"{files[0]} has {width}x{height} pixels and {path} has {other_width}x{other_height}"
            allowed = "a side in pixels that every image is resized to"
            raise UserError("dataset.image_size", reason=f"unset is not allowed: {sizes}", allowed=allowed)
        images[index] = pixels
    return images


def _pixels(path: Path, image_size: int | None) -> Tensor:
    """Uint8 `[3, height, width]`, as `torchvision.datasets.folder.default_loader` reads it, but upright.

    UserError for an image that this would change without a word: transparent, of several frames, not of 8 bits.
    """
    kind, remedy = "an image that can be read", "replace or remove it"
    with reading(path, kind, remedy), Image.open(path, formats=IMAGE_FORMATS) as image:
        _check_kind(image)
        colours = ImageOps.exif_transpose(image).convert("RGB")
        if image_size is not None and colours.size != (image_size, image_size):
            colours = colours.resize((image_size, image_size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(colours)).permute(2, 0, 1)


def _check_kind(image: ImageFile.ImageFile) -> None:
    if image.mode not in MODES:
        raise ValueError(f"its pixels are {image.mode}; allowed: {', '.join(MODES)}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # photographs of many cameras: the first frame is the picture
        raise ValueError(f"it has {frames} frames; allowed: one")
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        raise ValueError("some of its pixels are transparent; allowed: pictures pasted on a background")
    if image.format == "JPEG" and image.mode == "CMYK" and "adobe" not in image.info:
        raise ValueError("it is CMYK without Adobe's mark, so that its colours may be inverted")


def _scale(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel's pixels divided by 255."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.stack([torch.bincount(pixels.flatten(), minlength=256) for pixels in images.unbind(1)]).double()
    shares = counts / counts.sum(1, keepdim=True)
    mean = shares @ levels
    deviation = (shares * (levels - mean[:, None]) ** 2).sum(1).sqrt()
    return tuple(mean.tolist()), tuple(value or 1.0 for value in deviation.tolist())
