import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from support.dataset_files import loaded, refused, write_cifar10, write_fashion_mnist

from dbviz_ray.datasets.public import CIFAR10_FOLDER

TWO_LOADERS = """
import sys, time
from pathlib import Path
import torchvision.datasets.utils
from support.dataset_files import loaded, write_cifar10

directory, own, other = Path(sys.argv[1]), *sys.argv[2:]

def fake(url, root, filename, md5):
    with (directory / "downloads").open("a") as log:
        log.write(f"{own}\\n")
    time.sleep(0.5)
    write_cifar10(Path(root))
    time.sleep(0.5)

torchvision.datasets.utils.download_and_extract_archive = fake
(directory / own).touch()
while not (directory / other).exists():
    time.sleep(0.01)
assert len(loaded(directory / "data", name="cifar10").train_labels) == 300
"""


def test_two_processes_download_once(tmp_path):
    names = ["first", "second"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_LOADERS, str(tmp_path), *order],
            cwd=Path(__file__).parents[1],
            stderr=subprocess.PIPE,
        )
        for order in (names, names[::-1])
    ]
    errors = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    assert len((tmp_path / "downloads").read_text().split()) == 1
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

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", cut_off)
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
