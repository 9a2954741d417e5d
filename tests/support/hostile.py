"""What tests of hostile files share: payloads, how a command refuses, and a run that may be spoiled."""

from __future__ import annotations

import os
import shutil

import pytest

from dbviz_ray.store import Store

PLANES = ["--planes", "4", "--resolution", "5", "--device", "cpu"]


class Payload:
    """What a pickle, or a YAML tag, would run."""

    def __init__(self, marker):
        self.command = f"touch {marker}"

    def __reduce__(self):
        return os.system, (self.command,)


def refused(command, arguments, capsys):
    """The one line that a command ends with."""
    assert command.main([str(word) for word in arguments]) in (1, 2)
    printed = capsys.readouterr()
    (line,) = [line for line in printed.err.splitlines() if line.startswith("dbviz-ray ")]
    assert "Traceback" not in printed.err
    assert all(char.isprintable() or char == "\n" for char in printed.out + printed.err), "no escape sequences"
    return line


def folders(run):
    store, models = run
    return [store.path(f"models/{model.model_id}") for model in models]


@pytest.fixture
def marker(tmp_path, monkeypatch):
    """A file that every payload would create; it must not be there at the end."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "executed"
    assert not (tmp_path / "executed").exists()


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of the finished run that may be spoiled, and two of its models."""
    store, sweep = finished_run
    shutil.copytree(store.root, tmp_path / "run")
    return Store(tmp_path / "run"), sweep.models()[:2]
