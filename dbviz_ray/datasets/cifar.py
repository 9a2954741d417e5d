"""CIFAR-10 and CIFAR-100: 32x32 colour photographs of 10 and 100 classes, downloaded through torchvision.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets.dataset import Dataset, checked_split
from dbviz_ray.datasets.files import Download, ensure, reading, unpickled
from dbviz_ray.datasets.subsets import kept

FOLDER = "cifar-10-batches-py"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILES = ("test_batch",)
FOLDER_100 = "cifar-100-python"
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CONFUSED_WITH = {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}
"""Asymmetric noise of G. Patrini et al., arXiv 1609.03683, 2017; the other five classes keep their labels."""


def load_cifar10(config: DatasetConfig, directory: Path) -> Dataset:
    """CIFAR-10: 50,000 and 10,000 images `[3, 32, 32]` from `directory`/cifar-10-batches-py.

    Mean and deviation are the paper's (arXiv 2203.08124).
    """
    ensure(_download("cifar10", FOLDER, (*TRAIN_FILES, *TEST_FILES)), directory)
    read = partial(_read, directory / FOLDER, label_key=b"labels", classes=10, kind="a CIFAR-10 batch")
    dataset = Dataset(
        *read(TRAIN_FILES),
        *read(TEST_FILES),
        class_names=CLASS_NAMES,
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2023, 0.1994, 0.2010),
        confusions=tuple(CLASS_NAMES.index(CONFUSED_WITH.get(name, name)) for name in CLASS_NAMES),
    )
    return kept(config, dataset)


def load_cifar100(config: DatasetConfig, directory: Path) -> Dataset:
    """CIFAR-100 with its 100 fine classes: 50,000 and 10,000 images `[3, 32, 32]` from `directory`/cifar-100-python.

    Mean and deviation are the training pixels', as published in github.com/weiaicunzai/pytorch-cifar100.
    """
    ensure(_download("cifar100", FOLDER_100, ("train", "test", "meta")), directory)
    read = partial(_read, directory / FOLDER_100, label_key=b"fine_labels", classes=100, kind="a CIFAR-100 batch")
    names = _class_names_100(directory / FOLDER_100 / "meta")
    scale = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    return kept(config, Dataset(*read(("train",)), *read(("test",)), names, *scale))


def _download(name: str, folder: str, files: tuple[str, ...]) -> Download:
    def fetch(target: Path) -> None:
        from torchvision.datasets import CIFAR10, CIFAR100, utils

        source = {"cifar10": CIFAR10, "cifar100": CIFAR100}[name]
        utils.download_and_extract_archive(source.url, str(target), filename=source.filename, md5=source.tgz_md5)

    archive = f"{name[:5]}-{name[5:]}-python.tar.gz"
    return Download(
        name=name,
        files=tuple(f"{folder}/{file}" for file in files),
        fetch=fetch,
        by_hand=f"{archive} (https://www.cs.toronto.edu/~kriz/cifar.html) or its folder {folder}",
        archive=archive,
    )


def _class_names_100(path: Path) -> tuple[str, ...]:
    with reading(path, "the class names of CIFAR-100"):
        names = tuple(name.decode() for name in unpickled(path)[b"fine_label_names"])
        if len(names) != 100:
            raise ValueError(f"it has {len(names)} names, not 100")
        return names


def _read(folder: Path, names: tuple[str, ...], *, label_key: bytes, classes: int, kind: str) -> tuple[Tensor, Tensor]:
    batches = []
    for name in names:
        with reading(folder / name, kind):
            content = unpickled(folder / name)
            batches.append(checked_split(content[b"data"], content[label_key], (3, 32, 32), classes))
    if len(batches) == 1:
        return batches[0]
    return torch.cat([images for images, _ in batches]), torch.cat([labels for _, labels in batches])
