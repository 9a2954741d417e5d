import multiprocessing
import socket
import tarfile
import time
from pathlib import Path

import pytest
from support.dataset_files import loaded, refused, write_cifar10, write_fashion_mnist

from dbviz_ray.datasets.public import CIFAR10_FOLDER

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
    assert [loader.exitcode for loader in loaders] == [0, 0]
    assert downloads.value == 1
    assert not list((tmp_path / "data").glob(".*"))


PUT_THERE = {
    "cifar10": "cifar-10-python.tar.gz",
    "cifar100": "cifar-100-python.tar.gz",
    "svhn": "train_32x32.mat and test_32x32.mat",
    "fashion_mnist": "FashionMNIST/raw/train-images-idx3-ubyte.gz",
}


@pytest.mark.parametrize(("name", "put_there"), PUT_THERE.items())
def test_missing_files_say_what_to_put_where(tmp_path, monkeypatch, name, put_there):
    def no_network(*_args, **_kwargs):
        raise OSError("network is unreachable")

    monkeypatch.setattr("urllib.request.urlopen", no_network)
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
