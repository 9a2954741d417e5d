"""Public data sets in their own formats: what is read, and which files are refused."""

import gzip
import io
import os
import pickle

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from support.checkpoint_kinds import Made
from support.dataset_files import WRITERS, idx, loaded, refused, write_cifar10, write_fashion_mnist

from dbviz_ray.datasets.public import CIFAR10_CLASSES, CIFAR10_FOLDER, CIFAR100_FOLDER, FASHION_MNIST_FILES


def test_digits_are_split_without_overlap():
    from sklearn.datasets import load_digits

    data = loaded("unused", name="digits")
    assert (len(data.train_images), len(data.test_images), data.image_shape) == (1000, 797, (1, 8, 8))
    everything = sorted(map(tuple, torch.cat([data.train_images, data.test_images]).flatten(1).tolist()))
    assert everything == sorted(map(tuple, load_digits().data.astype(int).tolist()))


@pytest.mark.parametrize(
    ("name", "folder", "train_file", "test_file", "label_key"),
    [
        ("cifar10", CIFAR10_FOLDER, "data_batch_2", "test_batch", b"labels"),
        ("cifar100", CIFAR100_FOLDER, "train", "test", b"fine_labels"),
    ],
)
def test_cifar_is_read_in_its_true_format(tmp_path, name, folder, train_file, test_file, label_key):
    WRITERS[name](tmp_path)
    data = loaded(tmp_path, name=name)
    start = 60 if name == "cifar10" else 0  # images in data_batch_1
    for split, file, first in (("train", train_file, start), ("test", test_file, 0)):
        images, labels = data.split(split)
        raw = pickle.loads((tmp_path / folder / file).read_bytes())
        place = slice(first, first + len(raw[label_key]))
        assert torch.equal(images[place].flatten(1), torch.from_numpy(raw[b"data"]))
        assert labels[place].tolist() == raw[label_key]
    assert data.image_shape == (3, 32, 32)
    if name == "cifar10":
        assert (len(data.train_images), len(data.test_images), data.class_names) == (300, 60, CIFAR10_CLASSES)
        assert (data.mean[0], data.deviation[0]) == (0.4914, 0.2023), "as in the paper"
    assert data.class_names[-1] == ("truck" if name == "cifar10" else "fine 99")
    red = (data.test_images[0, 0, 0, 0] / 255 - data.mean[0]) / data.deviation[0]
    assert data.normalised(data.test_images)[0, 0, 0, 0] == pytest.approx(red.item(), rel=1e-5)


def test_svhn_is_read_in_its_true_format(tmp_path):
    WRITERS["svhn"](tmp_path)
    data = loaded(tmp_path, name="svhn")
    assert (data.train_images.shape, data.test_images.shape) == ((30, 3, 32, 32), (20, 3, 32, 32))
    raw = loadmat(tmp_path / "train_32x32.mat")
    assert data.train_images[4, 2, 10, 20] == raw["X"][10, 20, 2, 4]
    assert data.train_labels.tolist() == [int(label) % 10 for label in raw["y"][:, 0]]
    assert data.train_images.is_contiguous()


@pytest.mark.parametrize("compressed", [True, False])
def test_fashion_mnist_is_read_in_its_true_format(tmp_path, compressed):
    write_fashion_mnist(tmp_path, compressed=compressed)
    data = loaded(tmp_path, name="fashion_mnist")
    assert (data.train_images.shape, data.test_images.shape) == ((30, 1, 28, 28), (20, 1, 28, 28))
    path = tmp_path / (f"{FASHION_MNIST_FILES[0]}.gz" if compressed else FASHION_MNIST_FILES[0])
    raw = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    assert data.train_images[2, 0, 5, 9] == raw[16 + 2 * 784 + 5 * 28 + 9]
    assert sorted(data.train_labels.tolist()) == sorted([*range(10)] * 3)


def cifar_batch(**changes):
    content = {"data": np.zeros((4, 3072), dtype=np.uint8), "labels": [0, 1, 2, 3], "fine_labels": [0, 1, 2, 3]}
    return pickle.dumps({key.encode(): value for key, value in (content | changes).items()}, protocol=2)


def svhn_file(**changes):
    whole = {"X": np.zeros((32, 32, 3, 4), dtype=np.uint8), "y": np.ones((4, 1), dtype=np.uint8)}
    content = io.BytesIO()
    savemat(content, whole | changes)
    return content.getvalue()


BROKEN_CIFAR = {
    "hostile": (pickle.dumps(Made(os.system, "touch hostile-code-ran")), "system"),
    "without images": (pickle.dumps({b"labels": [0]}), "data"),
    "no dictionary": (pickle.dumps(3), "int"),
    "half": (cifar_batch()[:500], ""),
    "floats as pixels": (cifar_batch(data=np.zeros((4, 3072))), "float64"),
    "too few pixels": (cifar_batch(data=np.zeros((4, 3000), dtype=np.uint8)), "[4, 3000]"),
    "too few labels": (cifar_batch(labels=[0, 1], fine_labels=[0, 1]), "2 labels"),
    "a class too many": (cifar_batch(labels=[0, 1, 2, 100], fine_labels=[0, 1, 2, 100]), "label 100"),
    "floats as labels": (cifar_batch(labels=[0.5] * 4, fine_labels=[0.5] * 4), "float64"),
}
BROKEN_SVHN = {
    "channels first": (svhn_file(X=np.zeros((3, 32, 32, 4), dtype=np.uint8)), "[4, 32, 3, 32]"),
    "floats as pixels": (svhn_file(X=np.zeros((32, 32, 3, 4))), "float64"),
    "too few labels": (svhn_file(y=np.ones((3, 1), dtype=np.uint8)), "3 labels"),
    "a class too many": (svhn_file(y=np.full((4, 1), 11, dtype=np.uint8)), "label 11"),
    "no images": (svhn_file(X=np.zeros(3)), ""),
    "half": (svhn_file()[:3000], ""),
}
IMAGES, LABELS = (f"{file}.gz" for file in FASHION_MNIST_FILES[:2])
BROKEN_FASHION_MNIST = {
    "cut off": (IMAGES, gzip.compress(idx(np.zeros((30, 28, 28))))[:60], ""),
    "not compressed": (IMAGES, b"not compressed", ""),
    "one dimension": (IMAGES, gzip.compress(b"\0\0\x08\x01" + bytes(40)), "3-dimensional"),
    "a byte too few": (IMAGES, gzip.compress(idx(np.zeros((30, 28, 28)))[:-1]), "23519"),
    "a class too many": (LABELS, gzip.compress(idx(np.full(30, 10))), "label 10"),
    "too few labels": (LABELS, gzip.compress(idx(np.zeros(29))), "29 labels"),
}
BROKEN = (
    {f"cifar10, {case}": ("cifar10", f"{CIFAR10_FOLDER}/data_batch_3", *row) for case, row in BROKEN_CIFAR.items()}
    | {f"svhn, {case}": ("svhn", "train_32x32.mat", *row) for case, row in BROKEN_SVHN.items()}
    | {f"fashion_mnist, {case}": ("fashion_mnist", *row) for case, row in BROKEN_FASHION_MNIST.items()}
)


@pytest.mark.parametrize(("name", "file", "content", "told"), BROKEN.values(), ids=BROKEN)
def test_a_hostile_or_broken_file_is_refused(tmp_path, monkeypatch, name, file, content, told):
    monkeypatch.chdir(tmp_path)
    WRITERS[name](tmp_path)
    (tmp_path / file).write_bytes(content)
    mistake = refused(tmp_path, name=name)
    assert mistake.field.removesuffix(".gz") == str(tmp_path / file).removesuffix(".gz")
    assert told in mistake.reason
    assert mistake.hint
    assert not (tmp_path / "hostile-code-ran").exists()


def test_a_file_that_may_not_be_read_is_not_called_broken(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", path)

    write_cifar10(tmp_path)
    monkeypatch.setattr("dbviz_ray.datasets.public.unpickled", forbidden)
    mistake = refused(tmp_path, name="cifar10")
    assert "Permission denied" in mistake.reason
    assert not mistake.hint
