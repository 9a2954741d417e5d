"""Kinds of image files, arrays and loaders that people have: each is taken as plain PyTorch takes it, or refused.

`FILES` are read as torchvision's `default_loader` reads them, some then turned (`TURNS`); `REFUSED_FILES` are refused.
`GIVEN` are `IMAGES` and `LABELS` in another form, as arguments of `images_and_labels`; `REFUSED` are refused.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
"""An image without any symmetry, for files."""
PICTURE = Image.fromarray(PIXELS)
Writer = Callable[[Path], object]


def saved(ending: str, picture: Image.Image, **options: Any) -> tuple[str, Writer]:
    """The ending of a file's name, and what writes it."""
    return ending, lambda path: picture.copy().save(path, **options)


def two_frames() -> dict[str, Any]:
    return {"save_all": True, "append_images": [Image.fromarray(255 - PIXELS)]}


def with_orientation(number: int) -> dict[str, Any]:
    exif = Image.Exif()
    exif[0x0112] = number
    return {"exif": exif}


def with_alpha(alpha: int) -> Image.Image:
    """Opaque for 255; else one corner has this alpha."""
    picture = PICTURE.copy()
    band = Image.new("L", (8, 8), 255)
    band.paste(alpha, (0, 0, 2, 2))
    picture.putalpha(band)
    return picture


def without_adobe(path: Path) -> None:
    """A CMYK JPEG as some programs write it: nothing says whether its colours are inverted."""
    PICTURE.convert("CMYK").save(path)
    whole = path.read_bytes()
    start = whole.index(b"\xff\xee")
    path.write_bytes(whole[:start] + whole[start + 2 + int.from_bytes(whole[start + 2 : start + 4], "big") :])


def cut_off(path: Path) -> None:
    PICTURE.save(path)
    path.write_bytes(path.read_bytes()[:-40])


FILES: dict[str, tuple[str, Writer]] = {
    "rgb_png": saved("png", PICTURE),
    "jpeg": saved("jpg", PICTURE),
    "webp": saved("webp", PICTURE, lossless=True),
    "tiff": saved("tiff", PICTURE),
    "grey_png": saved("png", PICTURE.convert("L")),
    "one_bit": saved("png", PICTURE.convert("1")),
    "palette": saved("png", PICTURE.quantize(16)),
    "opaque_rgba": saved("png", with_alpha(255)),
    "palette_whose_transparent_colour_is_unused": saved("png", PICTURE.quantize(16), transparency=200),
    "cmyk_jpeg": saved("jpg", PICTURE.convert("CMYK")),
    "cmyk_tiff": saved("tiff", PICTURE.convert("CMYK")),
    "photograph_of_two_frames": saved("jpg", PICTURE, format="MPO", **two_frames()),
    "broken_exif": saved("jpg", PICTURE, exif=b"Exif\0\0no exif at all"),
    "turned_webp": saved("webp", PICTURE, lossless=True, **with_orientation(8)),
    "mirrored_jpeg": saved("jpg", PICTURE, **with_orientation(5)),
}
TURNS = {"turned_webp": np.rot90, "mirrored_jpeg": lambda pixels: pixels.transpose(1, 0, 2)}

REFUSED_FILES: dict[str, tuple[str, Writer]] = {
    "half_transparent_rgba": saved("webp", with_alpha(128), lossless=True),
    "transparent_palette": saved("png", PICTURE.quantize(16), transparency=0),
    "sixteen_bits_png": saved("png", Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257)),
    "animated_png": saved("png", PICTURE, **two_frames()),
    "cmyk_without_adobes_mark": ("jpg", without_adobe),
    "cut_off": ("png", cut_off),
    "web_page": ("jpg", lambda path: path.write_text("<!doctype html><title>404</title>")),
    "postscript": saved("png", PICTURE, format="EPS"),
}

IMAGES = torch.randint(-128, 129, (12, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 64
"""Numbers that float16 and bfloat16 hold exactly."""
LABELS = torch.arange(12) % 10
NAMES = [f"class {label}" for label in range(10)]
ARRAY = IMAGES.numpy()


class Items(IterableDataset):
    def __iter__(self) -> Any:
        return zip(IMAGES, LABELS, strict=True)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def in_parts(*parts: Any) -> list[Any]:
    """Batches of 5, 5 and 2."""
    return list(zip(*(part.split(5) for part in parts), strict=True))


def failing() -> Any:
    yield IMAGES, LABELS
    raise OSError("disk\nis gone")


MANY = IMAGES.new_zeros(60_000, 1, 1, 1)

GIVEN: dict[str, Callable[[], tuple[Any, ...]]] = {
    "bfloat16": lambda: (IMAGES.bfloat16(), LABELS),
    "big_endian": lambda: (ARRAY.astype(">f4"), LABELS.numpy().astype(">i8")),
    "read_only": lambda: (read_only(ARRAY), read_only(LABELS.numpy())),
    "negative_strides": lambda: (np.ascontiguousarray(ARRAY[..., ::-1])[..., ::-1], LABELS),
    "masks_that_mask_nothing": lambda: (np.ma.array(ARRAY), np.ma.array(LABELS.numpy(), mask=[False] * 12)),
    "with_gradients": lambda: (IMAGES.clone().requires_grad_(), LABELS),
    "sparse": lambda: (IMAGES.to_sparse(), LABELS),
    "list_of_tensors": lambda: (list(IMAGES), LABELS),
    "nested_lists": lambda: (IMAGES.tolist(), LABELS.tolist()),
    "uint64_labels": lambda: (IMAGES, LABELS.numpy().astype(np.uint64)),
    "column_of_labels": lambda: (IMAGES, LABELS[:, None].float()),
    "one_hot_floats": lambda: (IMAGES, np.eye(10)[LABELS]),
    "series_of_labels": lambda: (IMAGES, pd.Series(LABELS)),
    "array_of_names": lambda: (IMAGES, np.array(NAMES)[LABELS], "", np.array(NAMES)),
    "data_loader": lambda: (DataLoader(TensorDataset(IMAGES, LABELS), 5),),
    "torch_data_set": lambda: (TensorDataset(IMAGES, LABELS),),
    "iterable_data_set": lambda: (Items(),),
    "list_of_two_batches": lambda: ([(IMAGES[:6], LABELS[:6]), (IMAGES[6:], LABELS[6:])],),
    "list_of_items": lambda: (list(zip(IMAGES, LABELS.tolist(), strict=True)),),
    "list_of_dictionaries": lambda: ([{"image": x, "label": y, "path": "a.png"} for x, y in in_parts(IMAGES, LABELS)],),
    "batches_of_names": lambda: ([(x, [NAMES[i] for i in y]) for x, y in in_parts(IMAGES, LABELS)], None, "", NAMES),
    "pair": lambda: ((IMAGES, LABELS),),
    "mapping": lambda: ({"pixel_values": IMAGES, "labels": LABELS},),
}

WITHOUT_LABELS: dict[str, Callable[[], tuple[Any, ...]]] = {
    "tensor": lambda: (IMAGES,),
    "list_of_images": lambda: (list(IMAGES),),
    "two_batches": lambda: ([IMAGES[:6], IMAGES[6:]],),
    "data_loader_of_images": lambda: (DataLoader(TensorDataset(IMAGES), 5),),
    "pair_with_none": lambda: ((IMAGES, None),),
    "dictionaries": lambda: ([{"pixel_values": batch} for batch in IMAGES.split(5)],),
}

REFUSED: dict[str, Callable[[], tuple[Any, ...]]] = {
    "pillow_images": lambda: ([PICTURE] * 3,),
    "dictionaries_of_pillow_images": lambda: ([{"image": PICTURE, "label": 0}] * 3,),
    "objects": lambda: (np.array([object()] * 12), LABELS),
    "ragged": lambda: ([[1.0], [1.0, 2.0], [3.0]], LABELS),
    "uint8": lambda: (PIXELS[None].repeat(3, 0), [0, 1, 2]),
    "complex": lambda: (IMAGES + 0j, LABELS),
    "nested": lambda: (torch.nested.nested_tensor(list(IMAGES)), LABELS),
    "floats_of_8_bits": lambda: (IMAGES.to(torch.float8_e4m3fn), LABELS),
    "masked_images": lambda: (list(np.ma.masked_greater(ARRAY, 1)), LABELS),
    "masked_batches": lambda: ([(IMAGES, np.ma.masked_equal(LABELS.numpy(), 3))],),
    "on_the_meta_device": lambda: (IMAGES.to("meta"), LABELS),
    "not_a_number": lambda: (torch.full_like(IMAGES, torch.nan), LABELS),
    "without_pixels": lambda: (IMAGES[..., :0], LABELS),
    "three_dimensions": lambda: (IMAGES[:, 0], LABELS),
    "two_images": lambda: (IMAGES[:2], LABELS[:2]),
    "nothing": lambda: (None,),
    "a_set_of_splits": lambda: ({"train": IMAGES, "test": IMAGES},),
    "two_kinds_of_labels": lambda: ({"image": IMAGES, "label": LABELS, "target": LABELS},),
    "labels_of_unknown_name": lambda: ({"image": IMAGES, "fine_label": LABELS},),
    "no_batches": lambda: ([],),
    "three_parts": lambda: (in_parts(IMAGES, LABELS, LABELS),),
    "two_images_in_a_batch": lambda: (in_parts(IMAGES, IMAGES),),
    "sizes_that_differ": lambda: ([IMAGES, IMAGES[..., 1:]],),
    "types_that_differ": lambda: ([IMAGES, IMAGES.double()],),
    "labels_now_and_then": lambda: ([(IMAGES, LABELS), (IMAGES, None)],),
    "a_label_too_few": lambda: ([(IMAGES, LABELS[1:]), (IMAGES, LABELS)],),
    "one_hot_items_of_three_classes": lambda: ([(image, torch.eye(3)[0]) for image in IMAGES],),
    "failing_loader": lambda: (failing(),),
    "endless_loader": lambda: (itertools.repeat((MANY, MANY[:, 0, 0, 0])),),
    "fewer_labels": lambda: (IMAGES, LABELS[1:]),
    "several_classes_each": lambda: (IMAGES, torch.ones(12, 4)),
    "fractions": lambda: (IMAGES, LABELS + 0.5),
    "negative_labels": lambda: (IMAGES, LABELS - 1),
    "huge_labels": lambda: (IMAGES, np.full(12, 2**64 - 1, np.uint64)),
    "names_without_classes": lambda: (IMAGES, ["cat"] * 12),
    "names_of_no_class": lambda: (IMAGES, ["cat"] * 12, "", NAMES),
    "labels_with_gaps": lambda: (IMAGES, [None, *LABELS[1:].tolist()]),
    "pair_with_ragged_labels": lambda: ((IMAGES, [[0], [1, 2]] * 6),),
}
