"""Small data sets as files in the formats of the true ones, and the mistake with which one is refused."""

import gzip
import pickle

import numpy as np
from PIL import Image
from scipy.io import savemat
from support import refusals

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.datasets.public import CIFAR10_FOLDER, CIFAR100_FOLDER, FASHION_MNIST_FILES
from dbviz_ray.errors import Mistake


def loaded(directory, **fields):
    return load_dataset(DatasetConfig(**fields), str(directory))


def refused(directory, **fields) -> Mistake:
    """The mistake of a data set that cannot be loaded."""
    return refusals.refused(loaded, directory, **fields)


def write_pickles(folder, contents):
    folder.mkdir(parents=True)
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))


def write_cifar10(directory, images_per_file=60, seed=0):
    """CIFAR-10's own format: pickled dicts of bytes keys, data uint8 [n, 3072], labels a list."""
    generator, batches = np.random.default_rng(seed), {}
    for name in [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]:
        labels = generator.integers(0, 10, images_per_file)
        shades = 20 * labels[:, None] + generator.integers(0, 40, (images_per_file, 3072))
        batches[name] = {b"labels": labels.tolist(), b"data": shades.astype(np.uint8)}
    write_pickles(directory / CIFAR10_FOLDER, batches)


def write_cifar100(directory, train=50, test=20):
    """CIFAR-100's own format: as CIFAR-10's, with labels of two kinds and the names in `meta`."""
    generator = np.random.default_rng(1)
    contents = {"meta": {b"fine_label_names": [b"fine %d" % n for n in range(100)]}}
    for name, size in (("train", train), ("test", test)):
        fine = generator.permutation(size) % 100
        pixels = generator.integers(0, 256, (size, 3072)).astype(np.uint8)
        contents[name] = {b"fine_labels": fine.tolist(), b"coarse_labels": (fine // 5).tolist(), b"data": pixels}
    write_pickles(directory / CIFAR100_FOLDER, contents)


def write_svhn(directory, train=30, test=20):
    """SVHN's own format: MATLAB files, X uint8 [32, 32, 3, n], y [n, 1] from 1 to 10, where 10 is the digit 0."""
    directory.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(2)
    for name, size in (("train_32x32.mat", train), ("test_32x32.mat", test)):
        pixels = generator.integers(0, 256, (32, 32, 3, size)).astype(np.uint8)
        labels = (generator.permutation(size) % 10 + 1).astype(np.uint8)[:, None]
        savemat(directory / name, {"X": pixels, "y": labels}, do_compression=True)


def idx(array):
    """The idx format of MNIST and Fashion-MNIST."""
    sizes = np.array(array.shape, dtype=">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def write_fashion_mnist(directory, train=30, test=20, compressed=True):
    """Fashion-MNIST's own format: images and labels in idx files, gzipped as they are published."""
    generator = np.random.default_rng(3)
    for images, labels, size in ((*FASHION_MNIST_FILES[:2], train), (*FASHION_MNIST_FILES[2:], test)):
        contents = idx(generator.integers(0, 256, (size, 28, 28))), idx(generator.permutation(size) % 10)
        for file, content in zip((images, labels), contents, strict=True):
            path = directory / (f"{file}.gz" if compressed else file)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(content) if compressed else content)


WRITERS = {
    "cifar10": write_cifar10,
    "cifar100": write_cifar100,
    "svhn": write_svhn,
    "fashion_mnist": write_fashion_mnist,
}


def write_image_folder(directory, sizes=((8, 8),), train=6, test=4, classes=("cat", "dog")):
    """PNG files in train/CLASS and test/CLASS, whose widths and heights go through `sizes`."""
    generator = np.random.default_rng(4)
    for split, count in (("train", train), ("test", test)):
        for name in classes:
            (directory / split / name).mkdir(parents=True)
            for index in range(count):
                width, height = sizes[index % len(sizes)]
                pixels = generator.integers(0, 256, (height, width, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(directory / split / name / f"{index:03}.png")
