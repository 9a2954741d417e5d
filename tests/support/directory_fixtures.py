"""An object store, and an empty run directory on a disk and in it."""

from __future__ import annotations

import uuid

import pytest
from support.object_store import ObjectStore

from dbviz_ray.store.directory import Directory


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ObjectStore(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(params=["local", "s3"])
def directory(request, tmp_path):
    if request.param == "local":
        return Directory(tmp_path / "run")
    return Directory(request.getfixturevalue("server").address(uuid.uuid4().hex))
