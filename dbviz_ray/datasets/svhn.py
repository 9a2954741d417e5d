"""SVHN, cropped digits: 32x32 colour photographs of house numbers, downloaded through torchvision.

Source: Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011
(http://ufldl.stanford.edu/housenumbers). Mean and deviation are the training pixels', as published in DeepOBS
(F. Schneider et al., arXiv 1903.05499).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets.dataset import Dataset, checked_split
from dbviz_ray.datasets.files import Download, ensure, reading
from dbviz_ray.datasets.subsets import kept

TRAIN_FILE = "train_32x32.mat"
TEST_FILE = "test_32x32.mat"


def load_svhn(config: DatasetConfig, directory: Path) -> Dataset:
    """SVHN: 73,257 and 26,032 images `[3, 32, 32]` from `directory`/train_32x32.mat and test_32x32.mat."""
    ensure(DOWNLOAD, directory)
    train, test = _read(directory / TRAIN_FILE), _read(directory / TEST_FILE)
    scale = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    return kept(config, Dataset(*train, *test, tuple("0123456789"), *scale))


def _fetch(target: Path) -> None:
    from torchvision.datasets import SVHN, utils

    for url, filename, md5 in (SVHN.split_list["train"], SVHN.split_list["test"]):
        utils.download_url(url, str(target), filename, md5)


DOWNLOAD = Download(
    name="svhn",
    files=(TRAIN_FILE, TEST_FILE),
    fetch=_fetch,
    by_hand=f"{TRAIN_FILE} and {TEST_FILE} (http://ufldl.stanford.edu/housenumbers)",
)


def _read(path: Path) -> tuple[Tensor, Tensor]:
    """`X` is uint8 `[32, 32, 3, n]`, `y` is `[n, 1]` with 10 for the digit 0."""
    from scipy.io import loadmat

    with reading(path, "an SVHN file"):
        content = loadmat(path, variable_names=["X", "y"])
        pixels, labels = content["X"], content["y"]
        if pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3):
            raise ValueError(f"X has shape {list(pixels.shape)}, not [32, 32, 3, n]")
        return checked_split(pixels.transpose(3, 2, 0, 1), np.where(labels == 10, 0, labels).ravel(), (3, 32, 32), 10)
