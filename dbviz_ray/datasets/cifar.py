"""CIFAR-10: downloaded through torchvision, read without executing a pickle's code.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Mean and deviation are the
paper's (arXiv 2203.08124).
"""

from __future__ import annotations

import pickle
import socket
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from filelock import FileLock

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.datasets.subsets import kept_indices
from dbviz_ray.errors import UserError

FOLDER = "cifar-10-batches-py"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILES = ("test_batch",)
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DOWNLOAD_TIMEOUT_SECONDS = 30


def load_cifar10(config: DatasetConfig, directory: Path) -> Dataset:
    """CIFAR-10 from `directory`/cifar-10-batches-py, downloaded there first if it is missing."""
    _download_if_missing(directory)
    train_images, train_labels = _read(directory, TRAIN_FILES)
    test_images, test_labels = _read(directory, TEST_FILES)
    train = kept_indices(config, "train", len(train_labels))
    test = kept_indices(config, "test", len(test_labels))
    return Dataset(
        train_images=train_images[train],
        train_labels=train_labels[train],
        test_images=test_images[test],
        test_labels=test_labels[test],
        class_names=CLASS_NAMES,
        mean=(0.4914, 0.4822, 0.4465),
        deviation=(0.2023, 0.1994, 0.2010),
    )


def _missing(directory: Path) -> list[str]:
    return [name for name in TRAIN_FILES + TEST_FILES if not (directory / FOLDER / name).is_file()]


def _download_if_missing(directory: Path) -> None:
    """Torchvision checks the archive's MD5; one process of a machine downloads at a time."""
    if not _missing(directory):
        return
    from torchvision.datasets import CIFAR10

    timeout = socket.getdefaulttimeout()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / "cifar-10.lock"):
            if _missing(directory):
                socket.setdefaulttimeout(DOWNLOAD_TIMEOUT_SECONDS)
                CIFAR10(str(directory), download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"dataset.name: cifar10 is not in {directory} and could not be downloaded ({reason}); put the folder "
            f"{FOLDER} of cifar-10-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html) there, or name its "
            "parent folder in resources.data_directory"
        ) from None
    finally:
        socket.setdefaulttimeout(timeout)


class _ArrayUnpickler(pickle.Unpickler):
    """Reads the pickles of CIFAR-10, which hold arrays, lists and strings, and refuses any other object."""

    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in self._ALLOWED:
            return np._core.multiarray._reconstruct if name == "_reconstruct" else getattr(np, name)  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocol 2
            import _codecs

            return _codecs.encode
        raise pickle.UnpicklingError(f"{module}.{name} does not belong in a CIFAR-10 file")


def _unpickled(stream: BinaryIO) -> dict[bytes, Any]:
    content: dict[bytes, Any] = _ArrayUnpickler(stream, encoding="bytes").load()
    return content


def _read(directory: Path, names: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = [], []
    for name in names:
        path = directory / FOLDER / name
        try:
            with path.open("rb") as stream:
                batch = _unpickled(stream)
            images.append(np.asarray(batch[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
            labels.append(np.asarray(batch[b"labels"], dtype=np.int64))
        except (pickle.UnpicklingError, EOFError, KeyError, ValueError, AttributeError, TypeError) as error:
            raise UserError(f"{path}: not a CIFAR-10 batch ({error}); delete it to download it again") from None
    return torch.from_numpy(np.concatenate(images)), torch.from_numpy(np.concatenate(labels))
