"""Fashion-MNIST: 28x28 grey photographs of clothes, downloaded through torchvision.

Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017. Mean and deviation are the training
pixels', as published in github.com/chatflip/CalculationMeanStd.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets.dataset import Dataset, checked_split
from dbviz_ray.datasets.files import Download, ensure, found, reading
from dbviz_ray.datasets.subsets import kept

FOLDER = "FashionMNIST/raw"
FILES = tuple(
    f"{FOLDER}/{split}-{content}-ubyte" for split in ("train", "t10k") for content in ("images-idx3", "labels-idx1")
)
CLASS_NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def load_fashion_mnist(config: DatasetConfig, directory: Path) -> Dataset:
    """Fashion-MNIST: 60,000 and 10,000 images `[1, 28, 28]` from `directory`/FashionMNIST/raw."""
    ensure(DOWNLOAD, directory)
    train, test = _read(directory, *FILES[:2]), _read(directory, *FILES[2:])
    return kept(config, Dataset(*train, *test, CLASS_NAMES, mean=(0.2860,), deviation=(0.3530,)))


def _fetch(target: Path) -> None:
    from torchvision.datasets import FashionMNIST, utils

    for filename, md5 in FashionMNIST.resources:
        utils.download_url(f"{FashionMNIST.mirrors[0]}{filename}", str(target / FOLDER), filename, md5)


DOWNLOAD = Download(
    name="fashion_mnist",
    files=FILES,
    fetch=_fetch,
    by_hand=f"{', '.join(f'{file}.gz' for file in FILES)} (https://github.com/zalandoresearch/fashion-mnist)",
)


def _read(directory: Path, images_file: str, labels_file: str) -> tuple[Tensor, Tensor]:
    images = _array(directory, images_file, 3)
    labels = _array(directory, labels_file, 1)
    with reading(directory / labels_file, f"the labels of {images_file}"):
        return checked_split(images, labels, (1, 28, 28), 10)


def _array(directory: Path, file: str, dimensions: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """An array in MNIST's format: 0, 0, 8 (bytes), the number of dimensions, each size in 4 bytes, the values."""
    path = found(directory, file) or directory / file
    with reading(path, "a Fashion-MNIST file"):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        start = 4 + 4 * dimensions
        if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
            raise ValueError(f"its header is not that of a {dimensions}-dimensional array of bytes")
        shape = tuple(np.frombuffer(content, dtype=">u4", count=dimensions, offset=4).tolist())
        size = math.prod(shape)
        if len(content) != start + size:
            raise ValueError(f"it holds {len(content) - start:,} bytes, not the {size:,} of shape {list(shape)}")
        return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape).copy()
