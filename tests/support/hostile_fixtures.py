"""Fixtures of the tests of hostile files."""

from __future__ import annotations

import shutil

import pytest

from dbviz_ray.store import Store


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
