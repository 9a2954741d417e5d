"""A disk that is full, and one that cannot be written: a small file system of our own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.whole_sweeps import SMALL, run, tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SIZE, LEFT = 4 * 2**20, 40 * 2**10


@pytest.fixture
def disk(tmp_path):
    """A file system of `SIZE` bytes in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def files(directory: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in directory.rglob("*") if path.is_file()}


def test_a_full_disk_ends_the_sweep_and_room_on_it_continues_it(undisturbed, disk):
    directory = disk / "run"
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (SIZE - LEFT))
    result = run(directory, *SMALL, code=1, database=False)
    assert "No space left on device" in result.stderr
    assert "the same command" in result.stderr
    assert not (directory / "scores").exists()
    kept = files(directory / "models")
    filler.unlink()
    run(directory, *SMALL, database=False)
    assert tables(directory) == tables(undisturbed[0])
    complete = {path.parent for path in kept if path.name == "model.json"}
    assert {path: files(directory / "models")[path] for path in kept if path.parent in complete} == {
        path: changed for path, changed in kept.items() if path.parent in complete
    }, "what was complete is not made again"


def test_a_directory_that_cannot_be_written_is_named_before_any_work(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    result = run(disk / "run", *SMALL, code=2, database=False)
    assert f"--out: {disk}/run cannot be written" in result.stderr
    assert "Read-only file system" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
