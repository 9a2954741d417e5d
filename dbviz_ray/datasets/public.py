"""Public data sets: digits ships with scikit-learn; torchvision downloads CIFAR, SVHN and Fashion-MNIST."""

import gzip
from collections.abc import Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets.dataset import Dataset, checked_split
from dbviz_ray.datasets.draws import DIGITS_IMAGES, SPLITS, digits_sizes, kept
from dbviz_ray.datasets.files import Sources, ensure, found, reading, unpickled

CIFAR10_FOLDER, CIFAR100_FOLDER = "cifar-10-batches-py", "cifar-100-python"
CIFAR10_FILES = *(f"{CIFAR10_FOLDER}/data_batch_{number}" for number in range(1, 6)), f"{CIFAR10_FOLDER}/test_batch"
CIFAR100_FILES = tuple(f"{CIFAR100_FOLDER}/{name}" for name in ("train", "test", "meta"))
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CONFUSED_WITH = {"truck": "automobile", "bird": "airplane", "deer": "horse", "cat": "dog", "dog": "cat"}
"""Asymmetric noise of G. Patrini et al., arXiv 1609.03683, 2017; the other five classes keep their labels."""
SVHN_FILES = ("train_32x32.mat", "test_32x32.mat")
FASHION_MNIST_FOLDER = "FashionMNIST/raw"
FASHION_MNIST_FILES = tuple(
    f"{FASHION_MNIST_FOLDER}/{split}-{content}-ubyte"
    for split in ("train", "t10k")
    for content in ("images-idx3", "labels-idx1")
)
FASHION_MNIST_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def load_digits(config: DatasetConfig, directory: Path) -> Dataset:
    """Handwritten digits, 1,797 images `[1, 8, 8]`: `train_size` (default: 1,000), `test_size` (default: the others).

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998 (its test part).
    """
    # Read without an import of scikit-learn, which takes every worker a second.
    file = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    rows = torch.from_numpy(np.loadtxt(str(file), np.int64, delimiter=","))
    train_size, test_size = digits_sizes(config)
    shuffled = torch.from_numpy(numpy_generator("split", config.split_seed).permutation(DIGITS_IMAGES))
    images, labels = rows[:, :-1].to(torch.uint8).reshape(-1, 1, 8, 8), rows[:, -1].clone()
    train, test = shuffled[:train_size], shuffled[train_size : train_size + test_size]
    splits = images[train], labels[train], images[test], labels[test]
    return Dataset(*splits, tuple("0123456789"), mean=(0.0,), deviation=(1.0,), pixel_range=16.0)


def load_cifar10(config: DatasetConfig, directory: Path) -> Dataset:
    """CIFAR-10, 50,000 and 10,000 photographs `[3, 32, 32]`; mean and deviation are the paper's (arXiv 2203.08124).

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    _ensure_cifar(10, CIFAR10_FILES, directory)
    splits = CIFAR10_FILES[:-1], CIFAR10_FILES[-1:]
    train, test = (_cifar_split(directory, files, b"labels", 10) for files in splits)
    confusions = tuple(CIFAR10_CLASSES.index(CONFUSED_WITH.get(name, name)) for name in CIFAR10_CLASSES)
    scale = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    return kept(config, Dataset(*train, *test, CIFAR10_CLASSES, *scale, confusions=confusions))


def load_cifar100(config: DatasetConfig, directory: Path) -> Dataset:
    """CIFAR-100 with its 100 fine classes: 50,000 and 10,000 photographs `[3, 32, 32]`; source as of CIFAR-10.

    Mean and deviation are the training pixels', as published in github.com/weiaicunzai/pytorch-cifar100.
    """
    _ensure_cifar(100, CIFAR100_FILES, directory)
    train, test = (_cifar_split(directory, [file], b"fine_labels", 100) for file in CIFAR100_FILES[:2])
    with reading(directory / CIFAR100_FILES[2], "the class names of CIFAR-100"):
        names = tuple(name.decode() for name in unpickled(directory / CIFAR100_FILES[2])[b"fine_label_names"])
        if len(names) != 100:
            raise ValueError(f"it has {len(names)} names, not 100")
    scale = (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)
    return kept(config, Dataset(*train, *test, names, *scale))


def _ensure_cifar(classes: int, files: tuple[str, ...], directory: Path) -> None:
    def sources(datasets: Any) -> Sources:
        source = getattr(datasets, f"CIFAR{classes}")
        return [(source.url, source.filename, source.tgz_md5)]

    archive = f"cifar-{classes}-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html)"
    ensure(f"cifar{classes}", files, sources, f"{archive} or its folder {Path(files[0]).parent}", directory)


def _cifar_split(directory: Path, files: Sequence[str], label_key: bytes, classes: int) -> tuple[Tensor, Tensor]:
    batches = []
    for file in files:
        with reading(directory / file, f"a CIFAR-{classes} batch"):
            content = unpickled(directory / file)
            batches.append(checked_split(content[b"data"], content[label_key], (3, 32, 32), classes))
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def load_svhn(config: DatasetConfig, directory: Path) -> Dataset:
    """SVHN, cropped house numbers: 73,257 and 26,032 photographs `[3, 32, 32]`.

    Source: Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011. Mean and
    deviation are the training pixels', as published in DeepOBS (F. Schneider et al., arXiv 1903.05499).
    """
    by_hand = f"{' and '.join(SVHN_FILES)} (http://ufldl.stanford.edu/housenumbers)"
    ensure("svhn", SVHN_FILES, lambda of: [of.SVHN.split_list[split] for split in SPLITS], by_hand, directory)
    train, test = (_svhn_split(directory / file) for file in SVHN_FILES)
    scale = (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)
    return kept(config, Dataset(*train, *test, tuple("0123456789"), *scale))


def _svhn_split(path: Path) -> tuple[Tensor, Tensor]:
    """`X` is uint8 `[32, 32, 3, n]`, `y` is `[n, 1]` with 10 for the digit 0."""
    from scipy.io import loadmat

    with reading(path, "an SVHN file"):
        content = loadmat(path, variable_names=["X", "y"])
        pixels, labels = content["X"].transpose(3, 2, 0, 1), content["y"].ravel()
        return checked_split(pixels, np.where(labels == 10, 0, labels), (3, 32, 32), 10)


def load_fashion_mnist(config: DatasetConfig, directory: Path) -> Dataset:
    """Fashion-MNIST, clothes: 60,000 and 10,000 grey photographs `[1, 28, 28]`.

    Source: H. Xiao, K. Rasul and R. Vollgraf, Fashion-MNIST, arXiv 1708.07747, 2017. Mean and deviation are the
    training pixels', as published in github.com/chatflip/CalculationMeanStd.
    """

    def sources(datasets: Any) -> Sources:
        (mirror, *_), resources = datasets.FashionMNIST.mirrors, datasets.FashionMNIST.resources
        return [(f"{mirror}{file}", f"{FASHION_MNIST_FOLDER}/{file}", md5) for file, md5 in resources]

    files = ", ".join(f"{file}.gz" for file in FASHION_MNIST_FILES)
    by_hand = f"{files} (https://github.com/zalandoresearch/fashion-mnist)"
    ensure("fashion_mnist", FASHION_MNIST_FILES, sources, by_hand, directory)
    train, test = (_fashion_mnist_split(directory, split) for split in ("train", "t10k"))
    return kept(config, Dataset(*train, *test, FASHION_MNIST_CLASSES, mean=(0.2860,), deviation=(0.3530,)))


def _fashion_mnist_split(directory: Path, split: str) -> tuple[Tensor, Tensor]:
    images_file, labels_file = (file for file in FASHION_MNIST_FILES if f"/{split}-" in file)
    images, labels = _idx_array(directory, images_file, 3), _idx_array(directory, labels_file, 1)
    with reading(directory / labels_file, f"the labels of {images_file}"):
        return checked_split(images[:, None], labels, (1, 28, 28), 10)


def _idx_array(directory: Path, file: str, dimensions: int) -> NDArray[np.uint8]:
    """An array in MNIST's format: 0, 0, 8 (bytes), the number of dimensions, each size in 4 bytes, the values."""
    path = found(directory, file) or directory / file
    with reading(path, "a Fashion-MNIST file"):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        if content[:4] != bytes([0, 0, 8, dimensions]):
            raise ValueError(f"its header is not that of a {dimensions}-dimensional array of bytes")
        shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
        values = np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions)
        return values.reshape(shape.tolist()).copy()
