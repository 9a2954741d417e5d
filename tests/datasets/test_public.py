"""Public data sets in their own formats: what is read and downloaded, and which files are refused."""

import gzip
import io
import multiprocessing
import os
import pickle
import socket
import tarfile
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from scipy.io import loadmat, savemat
from sklearn.datasets import load_digits
from support.checkpoint_kinds import Made
from support.dataset_files import WRITERS, idx, loaded, refused, write_cifar10, write_fashion_mnist

from dbviz_ray.datasets.public import CIFAR10_CLASSES, CIFAR10_FOLDER, CIFAR100_FOLDER, FASHION_MNIST_FILES


def test_digits_are_split_without_overlap():
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
    "a class too many": (cifar_batch(labels=[0, 1, 2, 100], fine_labels=[0, 1, 2, 100]), "label 100"),
    "floats as labels": (cifar_batch(labels=[0.5] * 4, fine_labels=[0.5] * 4), "float64"),
}
BROKEN_SVHN = {
    "channels first": (svhn_file(X=np.zeros((3, 32, 32, 4), dtype=np.uint8)), "[4, 32, 3, 32]"),
    "no images": (svhn_file(X=np.zeros(3)), ""),
    "half": (svhn_file()[:3000], ""),
}
IMAGES, LABELS = (f"{file}.gz" for file in FASHION_MNIST_FILES[:2])
BROKEN_FASHION_MNIST = {
    "not compressed": (IMAGES, b"not compressed", ""),
    "one dimension": (IMAGES, gzip.compress(b"\0\0\x08\x01" + bytes(40)), "3-dimensional"),
    "a byte too few": (IMAGES, gzip.compress(idx(np.zeros((30, 28, 28)))[:-1]), "23519"),
    "too few labels": (LABELS, gzip.compress(idx(np.zeros(29))), "29 labels"),
}
BROKEN = (
    {f"cifar10, {case}": ("cifar10", f"{CIFAR10_FOLDER}/data_batch_3", *row) for case, row in BROKEN_CIFAR.items()}
    | {f"svhn, {case}": ("svhn", "train_32x32.mat", *row) for case, row in BROKEN_SVHN.items()}
    | {f"fashion_mnist, {case}": ("fashion_mnist", *row) for case, row in BROKEN_FASHION_MNIST.items()}
)


@pytest.mark.parametrize(("name", "file", "content", "told"), BROKEN.values(), ids=BROKEN)
def test_a_hostile_or_broken_file_is_refused(here, name, file, content, told):
    WRITERS[name](here)
    (here / file).write_bytes(content)
    mistake = refused(here, name=name)
    assert mistake.field.removesuffix(".gz") == str(here / file).removesuffix(".gz")
    assert told in mistake.reason
    assert mistake.hint
    assert not (here / "hostile-code-ran").exists()


def test_a_file_that_may_not_be_read_is_not_called_broken(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    forbidden = PermissionError(13, "Permission denied")
    monkeypatch.setattr("dbviz_ray.datasets.public.unpickled", Mock(side_effect=forbidden))
    mistake = refused(tmp_path, name="cifar10")
    assert "Permission denied" in mistake.reason
    assert not mistake.hint


ARCHIVES = "torchvision.datasets.utils.download_and_extract_archive"


def test_two_processes_download_once(tmp_path, monkeypatch):
    processes = multiprocessing.get_context("fork")
    both_run, downloads = processes.Barrier(2), processes.Value("i", 0)

    def slow_download(url, root, filename, md5):
        with downloads.get_lock():
            downloads.value += 1
        time.sleep(0.3)
        write_cifar10(Path(root))
        time.sleep(0.3)

    def load():
        both_run.wait(60)
        assert len(loaded(tmp_path / "data", name="cifar10").train_labels) == 300

    monkeypatch.setattr(ARCHIVES, slow_download)
    loaders = [processes.Process(target=load) for _ in range(2)]
    for loader in loaders:
        loader.start()
    for loader in loaders:
        loader.join()
    assert ([loader.exitcode for loader in loaders], downloads.value) == ([0, 0], 1)
    assert not list((tmp_path / "data").glob(".*"))


@pytest.mark.parametrize(
    ("name", "put_there"),
    [
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-python.tar.gz"),
        ("svhn", "train_32x32.mat and test_32x32.mat"),
        ("fashion_mnist", "FashionMNIST/raw/train-images-idx3-ubyte.gz"),
    ],
)
def test_missing_files_say_what_to_put_where(tmp_path, monkeypatch, name, put_there):
    monkeypatch.setattr("urllib.request.urlopen", Mock(side_effect=OSError("network is unreachable")))
    mistake = refused(tmp_path / "nothing", name=name)
    assert str(tmp_path / "nothing") in mistake.reason
    assert "network is unreachable" in mistake.reason
    assert put_there in mistake.hint
    assert socket.getdefaulttimeout() is None


def test_an_interrupted_download_leaves_no_half_file(tmp_path, monkeypatch):
    def cut_off(url, root, filename, md5):
        write_cifar10(Path(root))
        (Path(root) / CIFAR10_FOLDER / "data_batch_4").write_bytes(b"half")
        raise ConnectionResetError("connection reset")

    monkeypatch.setattr(ARCHIVES, cut_off)
    assert "connection reset" in refused(tmp_path, name="cifar10").reason
    assert not (tmp_path / CIFAR10_FOLDER).exists()


def test_an_archive_put_there_by_hand_is_unpacked(tmp_path, monkeypatch):
    write_cifar10(tmp_path / "made")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "made" / CIFAR10_FOLDER, CIFAR10_FOLDER)
    monkeypatch.setattr("torchvision.datasets.utils.check_integrity", lambda path, md5=None: Path(path).is_file())
    assert len(loaded(tmp_path, name="cifar10").test_labels) == 60


def test_files_go_where_they_are_looked_for(tmp_path, monkeypatch):
    def fetched(url, root, filename, md5):
        assert url.endswith(f"/{filename}")
        assert len(md5) == 32
        folder = Path(root).parent.parent
        if not any(folder.rglob("*.gz")):
            write_fashion_mnist(folder)

    monkeypatch.setattr("torchvision.datasets.utils.download_url", fetched)
    assert len(loaded(tmp_path, name="fashion_mnist").test_labels) == 20
