"""Small pictures of items for the report, from a folder of image files or a .npz file of arrays."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from dbviz_ray.errors import UserError, one_line
from dbviz_ray.store.files import IMAGE_FORMATS

IMAGES, IDS = "images", "id"
"""Arrays of a .npz file; without ids, images are known by their row numbers."""
SIDE = 96
"""Largest width and height, in pixels."""
LARGER = 56
"""Images smaller than this are enlarged, pixel by pixel."""
CHANNELS = (1, 3)


def thumbnails(source: str, ids: Sequence[Any]) -> list[str]:
    """For each id a picture as a data: address, "" if there is none. UserError if `source` has none of them."""
    try:
        find = _in_folder(Path(source)) if Path(source).is_dir() else _in_file(source)
        found = [_address(find(str(item))) for item in ids]
    except (OSError, ValueError, KeyError, Image.DecompressionBombError) as error:
        raise UserError("images", source, reason=f"cannot be read ({one_line(error)})") from None
    if ids and not any(found):
        allowed = f"a folder whose files are named by the ids, or a .npz file with {IMAGES} and perhaps {IDS}"
        raise UserError("images", source, reason=f"has no image of item {ids[0]}", allowed=allowed)
    return found


def _in_folder(folder: Path) -> Callable[[str], Image.Image | None]:
    """Finds the file that an id names, with or without its ending, in the folder alone."""
    inside = folder.resolve()
    endings = {path.with_suffix("").name: path for path in inside.iterdir() if path.is_file()}

    def find(item: str) -> Image.Image | None:
        path = (inside / item).resolve()
        path = path if path.is_file() else endings.get(item, path)
        if not path.is_relative_to(inside) or not path.is_file():
            return None
        with Image.open(path, formats=IMAGE_FORMATS) as opened:
            return ImageOps.exif_transpose(opened).convert("RGB")

    return find


def _in_file(path: str) -> Callable[[str], Image.Image | None]:
    with np.load(path, allow_pickle=False) as file:
        arrays = file[IMAGES]
        ids = file[IDS].tolist() if IDS in file.files else range(len(arrays))
    if arrays.ndim == 4 and arrays.shape[-1] not in CHANNELS and arrays.shape[1] in CHANNELS:
        arrays = arrays.transpose(0, 2, 3, 1)
    if arrays.ndim == 4 and arrays.shape[-1] == 1:
        arrays = arrays[..., 0]
    if arrays.ndim not in (3, 4) or arrays.shape[3:] not in ((), (3,)):
        raise ValueError(f"{IMAGES} has the shape {arrays.shape}, not [n, height, width] with 1 or 3 channels")
    places = {str(item): place for place, item in enumerate(ids)}

    def find(item: str) -> Image.Image | None:
        return None if item not in places else Image.fromarray(_bytes(arrays[places[item]]))

    return find


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Pixels of any other type are stretched from the darkest to the lightest, since they may be normalised."""
    shown = pixels.astype(float)
    if pixels.dtype != np.uint8:
        low, high = np.nanmin(shown), np.nanmax(shown)
        shown = np.nan_to_num(255 * (shown - low) / max(high - low, 1e-12))
    return shown.astype(np.uint8)


def _address(image: Image.Image | None) -> str:
    if image is None:
        return ""
    if max(image.size) < LARGER:
        image = ImageOps.scale(image, LARGER // max(image.size), Image.Resampling.NEAREST)
    image.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    image.save(content, "webp", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode()}"
