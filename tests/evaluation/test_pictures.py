"""Single planes on finer grids: taken with the label maps, stored, and shown in their place."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import small_sweep

from dbviz_ray.analysis.figures.sweep_tables import shown_picture
from dbviz_ray.architectures import initialised_network
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.evaluation.pictures import SHOWN_PLANE, picture_resolution, take_picture
from dbviz_ray.evaluation.work import LabelPlanes
from dbviz_ray.planes import PlaneSet
from dbviz_ray.stages.evaluate import work_of
from dbviz_ray.store import Picture, PictureKey, Store


def planes_of(count: int, resolution: int) -> PlaneSet:
    anchors = torch.randn(count, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    none = torch.full((count, 3), -1)
    return PlaneSet(anchors, none, none, resolution, 0.1)


@pytest.fixture
def network():
    return initialised_network("fully_connected", 8, (1, 8, 8), 10, seed=0)


@pytest.mark.parametrize(
    ("count", "resolution", "finest"),
    [(500, 50, 200), (200, 50, 200), (100, 25, 79), (10, 50, None), (15, 201, None), (10, 12, None), (40, 12, 24)],
)
def test_a_picture_is_cheap_beside_its_plane_set(count, resolution, finest):
    assert picture_resolution(planes_of(count, resolution)) == finest


def test_a_finer_grid_holds_the_points_of_the_coarser_one(network, cpu):
    planes = planes_of(3, 8)
    coarse = label_planes(network, planes, cpu, probabilities=True)
    picture = take_picture(network, planes, 2, 15, cpu, confidence=True)
    assert np.array_equal(picture.labels[::2, ::2], coarse.labels[2])
    assert np.array_equal(picture.confidence[::2, ::2], coarse.probabilities[2].amax(-1))
    assert len(np.unique(picture.labels)) > 1


def test_pictures_come_back_and_open_as_one_table(tmp_path):
    store, generator = Store(tmp_path), np.random.default_rng(0)
    small = Picture(generator.integers(0, 10, (4, 4)).astype(np.uint8))
    large = Picture(generator.integers(0, 10, (7, 7)).astype(np.uint8), generator.random((7, 7)).astype(np.float16))
    store.write_picture("test", "m", 3, 0, small)
    store.write_picture("test", "m", 3, 5, large)
    assert store.read_picture("test", "m", 3, 0).confidence is None
    back = store.read_picture("test", "m", 3, 5)
    assert np.array_equal(back.labels, large.labels)
    assert np.array_equal(back.confidence, large.confidence)
    assert back.resolution == 7
    assert store.read_picture("test", "m", 2, 0) is None
    table = pq.read_table(store.path("pictures"), columns=["labels", "plane"])
    assert table.schema.field("labels").type == pa.list_(pa.uint8())
    assert sorted(zip(table["plane"].to_pylist(), map(len, table["labels"].to_pylist()), strict=True)) == [
        (0, 16), (5, 49)
    ]  # fmt: skip


@pytest.mark.parametrize("probabilities", [False, True])
def test_evaluators_take_a_picture_before_the_label_maps_vouch_for_it(tmp_path, network, cpu, probabilities):
    store = Store(tmp_path)
    sweep = small_sweep(planes={"test": {"count": 20, "resolution": 8, "probabilities": probabilities}})
    work = work_of(sweep, store)[LabelPlanes("test")]
    assert work.points == 20 * 64 + 11 * 11
    work.do(network, cpu, store, "m", 3)
    picture = store.read_picture("test", "m", 3, SHOWN_PLANE)
    assert picture.resolution == 11
    assert (picture.confidence is not None) == probabilities
    assert np.array_equal(shown_picture(store, PictureKey("m", 3, "test", 0)).labels, picture.labels)
    assert shown_picture(store, PictureKey("m", 3, "test", 1)).labels.shape == (8, 8)


def test_without_a_picture_there_is_no_sign_of_completeness(tmp_path, network, cpu, monkeypatch):
    store = Store(tmp_path)
    sweep = small_sweep(planes={"test": {"count": 20, "resolution": 8}})
    work = work_of(sweep, store)[LabelPlanes("test")]
    monkeypatch.setattr(Store, "write_picture", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        work.do(network, cpu, store, "m", 3)
    assert store.labelled("test") == set()


def test_a_run_without_pictures_shows_what_is_scored(made_up):
    store, sweep, _ = made_up
    model = sweep.models()[0]
    scored = store.read_label_maps("test", model.model_id, 3)
    assert np.array_equal(shown_picture(store, PictureKey(model.model_id, 3, "test", 4)).labels, scored[4])
