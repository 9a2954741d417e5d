from __future__ import annotations

import gzip
import pickle

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from support.dataset_files import idx, write_cifar10, write_cifar100, write_fashion_mnist, write_svhn

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.datasets.cifar import CLASS_NAMES, FOLDER, FOLDER_100
from dbviz_ray.datasets.fashion_mnist import FILES
from dbviz_ray.errors import UserError


def test_digits_are_split_without_overlap():
    data = load_dataset(DatasetConfig(name="digits"), "unused")
    assert (len(data.train_images), len(data.test_images), data.image_shape) == (1000, 797, (1, 8, 8))
    from sklearn.datasets import load_digits

    everything = sorted(map(tuple, torch.cat([data.train_images, data.test_images]).flatten(1).tolist()))
    assert everything == sorted(map(tuple, load_digits().data.astype(int).tolist()))


def test_the_seed_draws_the_split(digits):
    other = load_dataset(DatasetConfig(name="digits", train_size=200, test_size=100, split_seed=1), "unused")
    assert not torch.equal(other.train_images, digits.train_images)


def test_the_draws_never_change(tmp_path, digits):
    assert digits.train_labels[:12].tolist() == [4, 8, 4, 2, 8, 2, 6, 6, 9, 2, 1, 7]
    write_cifar10(tmp_path)
    data = load_dataset(DatasetConfig(name="cifar10", train_size=12, test_size=12), str(tmp_path))
    assert data.train_labels.tolist() == [8, 5, 7, 9, 1, 1, 7, 1, 0, 7, 8, 2]
    assert data.test_labels.tolist() == [9, 0, 9, 9, 4, 8, 8, 4, 2, 1, 5, 7]


def test_normalised_pixels(digits):
    pixels = torch.tensor([[0.0, 8], [16, 4]]).to(torch.uint8).view(1, 1, 2, 2)
    assert digits.normalised(pixels).flatten().tolist() == [0, 0.5, 1, 0.25]


def test_cifar10_reads_its_true_format(tmp_path):
    write_cifar10(tmp_path)
    data = load_dataset(DatasetConfig(name="cifar10"), str(tmp_path))
    assert data.train_images.shape == (300, 3, 32, 32)
    assert data.test_images.shape == (60, 3, 32, 32)
    assert data.class_names == CLASS_NAMES
    raw = pickle.loads((tmp_path / FOLDER / "data_batch_2").read_bytes())
    assert torch.equal(data.train_images[60].flatten(), torch.from_numpy(raw[b"data"][0]))
    assert data.train_labels[60:120].tolist() == raw[b"labels"]
    red = (data.test_images[0, 0, 0, 0] / 255 - 0.4914) / 0.2023
    assert data.normalised(data.test_images)[0, 0, 0, 0] == pytest.approx(red.item())


def test_cifar10_subsets_are_drawn_by_the_split_seed(tmp_path):
    write_cifar10(tmp_path)

    def first(seed):
        return load_dataset(DatasetConfig(name="cifar10", train_size=50, split_seed=seed), str(tmp_path)).train_images

    assert first(0).shape[0] == 50
    assert not torch.equal(first(0), first(1))
    with pytest.raises(UserError) as error:
        load_dataset(DatasetConfig(name="cifar10", test_size=61), str(tmp_path))
    assert error.value.mistakes[0].field == "dataset.test_size"


def test_cifar100_reads_its_true_format(tmp_path):
    write_cifar100(tmp_path)
    data = load_dataset(DatasetConfig(name="cifar100"), str(tmp_path))
    assert (data.train_images.shape, data.test_images.shape) == ((50, 3, 32, 32), (20, 3, 32, 32))
    assert data.class_names[17] == "fine 17"
    raw = pickle.loads((tmp_path / FOLDER_100 / "test").read_bytes())
    assert torch.equal(data.test_images.flatten(1), torch.from_numpy(raw[b"data"]))
    assert data.test_labels.tolist() == raw[b"fine_labels"]


def test_svhn_reads_its_true_format(tmp_path):
    write_svhn(tmp_path)
    data = load_dataset(DatasetConfig(name="svhn"), str(tmp_path))
    assert (data.train_images.shape, data.test_images.shape) == ((30, 3, 32, 32), (20, 3, 32, 32))
    raw = loadmat(tmp_path / "train_32x32.mat")
    assert data.train_images[4, 2, 10, 20] == raw["X"][10, 20, 2, 4]
    assert data.train_labels.tolist() == [int(label) % 10 for label in raw["y"][:, 0]]
    assert data.train_labels.min() == 0
    assert data.train_images.is_contiguous()


@pytest.mark.parametrize("compressed", [True, False])
def test_fashion_mnist_reads_its_true_format(tmp_path, compressed):
    write_fashion_mnist(tmp_path, compressed=compressed)
    data = load_dataset(DatasetConfig(name="fashion_mnist"), str(tmp_path))
    assert (data.train_images.shape, data.test_images.shape) == ((30, 1, 28, 28), (20, 1, 28, 28))
    path = tmp_path / (f"{FILES[0]}.gz" if compressed else FILES[0])
    raw = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    assert data.train_images[2, 0, 5, 9] == raw[16 + 2 * 784 + 5 * 28 + 9]
    assert sorted(data.train_labels.tolist()) == sorted([*range(10)] * 3)


class Hostile:
    def __reduce__(self):
        import os

        return os.system, ("touch hostile-code-ran",)


def cifar_batch(**changes):
    content = {"data": np.zeros((4, 3072), dtype=np.uint8), "labels": [0, 1, 2, 3], "fine_labels": [0, 1, 2, 3]}
    return pickle.dumps({key.encode(): value for key, value in (content | changes).items()}, protocol=2)


BROKEN_CIFAR = [
    (pickle.dumps(Hostile()), "is not allowed"),
    (pickle.dumps({b"labels": [0]}), "KeyError: b'data'"),
    (pickle.dumps(3), "it holds int"),
    (cifar_batch()[:500], ""),
    (b"", "EOFError"),
    (cifar_batch(data=np.zeros((4, 3072))), "images are float64, not uint8"),
    (cifar_batch(data=np.zeros((4, 3000), dtype=np.uint8)), r"images have shape \[4, 3000\], not \[n, 3072\]"),
    (cifar_batch(labels=[0, 1], fine_labels=[0, 1]), "there are 2 labels for 4 images"),
    (cifar_batch(labels=[0, 1, 2, 100], fine_labels=[0, 1, 2, 100]), r"label 100 is not a class; allowed: 0 to 99?"),
    (cifar_batch(labels=[0.5] * 4, fine_labels=[0.5] * 4), "labels are float64, not integers"),
]


@pytest.mark.parametrize(("content", "reason"), BROKEN_CIFAR)
def test_a_hostile_or_broken_cifar_file_is_refused(tmp_path, monkeypatch, content, reason):
    monkeypatch.chdir(tmp_path)
    write_cifar10(tmp_path)
    write_cifar100(tmp_path)
    (tmp_path / FOLDER / "data_batch_3").write_bytes(content)
    (tmp_path / FOLDER_100 / "train").write_bytes(content)
    for name, file in (("cifar10", "data_batch_3"), ("cifar100", "train")):
        with pytest.raises(UserError, match=rf"{file}: not a CIFAR-100? batch \(.*{reason}.*\); delete it"):
            load_dataset(DatasetConfig(name=name), str(tmp_path))
    assert not (tmp_path / "hostile-code-ran").exists()


def test_a_file_that_may_not_be_read_is_not_called_broken(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", path)

    write_cifar10(tmp_path)
    monkeypatch.setattr("dbviz_ray.datasets.cifar.unpickled", forbidden)
    with pytest.raises(UserError, match=r"data_batch_1: cannot be read \(Permission denied\)$"):
        load_dataset(DatasetConfig(name="cifar10"), str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"X": np.zeros((3, 32, 32, 4), dtype=np.uint8)}, r"X has shape \[3, 32, 32, 4\], not \[32, 32, 3, n\]"),
        ({"X": np.zeros((32, 32, 3, 4))}, "images are float64, not uint8"),
        ({"y": np.ones((3, 1), dtype=np.uint8)}, "there are 3 labels for 4 images"),
        ({"y": np.full((4, 1), 11, dtype=np.uint8)}, "label 11 is not a class; allowed: 0 to 9"),
        (b"MATLAB", ""),
        ("half", ""),
    ],
)
def test_a_broken_svhn_file_is_refused(tmp_path, changes, reason):
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    if isinstance(changes, dict):
        whole = {"X": np.zeros((32, 32, 3, 4), dtype=np.uint8), "y": np.ones((4, 1), dtype=np.uint8)}
        savemat(path, whole | changes)
    else:
        path.write_bytes(path.read_bytes()[:3000] if changes == "half" else changes)
    with pytest.raises(UserError, match=rf"train_32x32.mat: not an SVHN file \(.*{reason}.*\); delete it"):
        load_dataset(DatasetConfig(name="svhn"), str(tmp_path))


def gzipped(content: bytes) -> bytes:
    """Without the time, so that every process that collects the tests gives them the same names."""
    return gzip.compress(content, mtime=0)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        (0, gzipped(idx(np.zeros((30, 28, 28))))[:60], "EOFError"),
        (0, b"not compressed", "Not a gzipped file"),
        (0, gzipped(b"\0\0\x08\x01" + bytes(40)), "header is not that of a 3-dimensional array"),
        (0, gzipped(idx(np.zeros((30, 28, 28)))[:-1]), r"it holds 23,519 bytes, not the 23,520 of shape"),
        (1, gzipped(idx(np.full(30, 10))), "label 10 is not a class; allowed: 0 to 9"),
        (1, gzipped(idx(np.zeros(29))), "there are 29 labels for 30 images"),
    ],
)
def test_a_broken_fashion_mnist_file_is_refused(tmp_path, file, content, reason):
    write_fashion_mnist(tmp_path)
    (tmp_path / f"{FILES[file]}.gz").write_bytes(content)
    with pytest.raises(UserError, match=rf"{FILES[file]}.*: not .*{reason}.*; delete it"):
        load_dataset(DatasetConfig(name="fashion_mnist"), str(tmp_path))
