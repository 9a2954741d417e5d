"""A disk that is full, and one that cannot be written: a small file system of our own."""

import errno
import os
import subprocess

import pytest
from support.whole_sweeps import SMALL, TABLES_ONLY, run, tables

from dbviz_ray.sweep import main

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE, LEFT = 4 * 2**20, 40 * 2**10


@pytest.fixture
def disk(tmp_path):
    """A file system of `SIZE` bytes in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.nightly
def test_a_full_disk_ends_the_sweep_and_room_on_it_continues_it(undisturbed, disk):
    directory = disk / "run"
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (SIZE - LEFT))
    result = run(directory, *SMALL, code=1, database=False)
    assert os.strerror(errno.ENOSPC) in result.stderr
    assert not (directory / "scores").exists()
    complete = [path.parent for path in directory.glob("models/*/model.json")]
    kept = {path: path.stat().st_mtime_ns for folder in complete for path in folder.rglob("*") if path.is_file()}
    filler.unlink()
    run(directory, *SMALL, *TABLES_ONLY, database=False)
    assert tables(directory) == tables(undisturbed[0])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was complete is not made again"


def test_a_directory_that_cannot_be_written_is_named_before_any_work(disk, capsys):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert main([*SMALL, "--out", f"{disk}/run"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"--out: {disk}/run" in line
    assert os.strerror(errno.EROFS) in line
