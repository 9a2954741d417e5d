"""Single planes on finer grids: taken with the label maps or when somebody asks, and shown in their place."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import small_sweep
from support.random_planes import random_planes

from dbviz_ray.__main__ import main
from dbviz_ray.analysis.figures.sweep_tables import on_one_grid, shown_picture
from dbviz_ray.evaluation import pictures
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.evaluation.pictures import SHOWN_PLANE, take_picture, take_pictures
from dbviz_ray.evaluation.records import load_network, load_planes
from dbviz_ray.stages.evaluate import work_of
from dbviz_ray.store import Picture, PictureKey, Store


def test_a_picture_is_the_label_map_of_its_grid_but_labels_few_points(network, cpu):
    planes, labelled = random_planes(3, 8), []
    coarse = label_planes(network, planes, cpu, probabilities=True)
    pale = take_picture(network, planes, 2, 15, cpu, confidence=True)
    assert np.array_equal(pale.labels[::2, ::2], coarse.labels[2])
    assert np.array_equal(pale.confidence[::2, ::2], coarse.probabilities[2].amax(-1))
    fine = take_picture(lambda images: labelled.append(len(images)) or network(images), planes, 0, 199, cpu).labels
    assert len(np.unique(fine)) > 1
    assert (fine != label_planes(network, planes.part([0], 199), cpu).labels[0].numpy()).mean() < 1e-4
    assert sum(labelled) < 199**2 / 3


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
    assert {row["plane"]: len(row["labels"]) for row in table.to_pylist()} == {0: 16, 5: 49}


@pytest.mark.parametrize(("probabilities", "resolution"), [(False, 42), (True, 35)])  # 0.2 * 6,400 / 30, and its root
def test_evaluators_take_a_picture_before_the_label_maps_vouch_for_it(
    tmp_path, network, cpu, probabilities, resolution
):
    store = Store(tmp_path)
    sweep = small_sweep(planes={"test": {"count": 100, "resolution": 8, "probabilities": probabilities}})
    work = work_of(sweep, store)["test"]
    work.do(network, cpu, store, "m", 3)
    picture = store.read_picture("test", "m", 3, SHOWN_PLANE)
    assert picture.resolution == resolution
    assert (picture.confidence is not None) == probabilities
    assert np.array_equal(shown_picture(store, PictureKey("m", 3, "test", 0)).labels, picture.labels)
    scored = store.read_label_maps("test", "m", 3)
    assert np.array_equal(shown_picture(store, PictureKey("m", 3, "test", 1)).labels, scored[1])


@pytest.fixture
def bare_run(copied_run):
    copied_run[0].remove_folder("pictures")
    return copied_run


def stored_pictures(store: Store) -> list[str]:
    return store.files("pictures", "picture.parquet")


def test_what_the_figures_show_is_labelled_and_nothing_else(bare_run, cpu, capsys):
    store, sweep = bare_run
    assert main(["figures", store.root, "decision_regions", "--resolution", "23"]) == 0
    assert "label    12 models in " in capsys.readouterr().err
    model = next(model for model in sweep.models() if model.label_noise)
    assert len(stored_pictures(store)) == 2 * 2 * 3, "widths, noise and seeds; no other plane set"
    network = load_network(store, model, (1, 8, 8), 10)
    expected = label_planes(network, load_planes(store, "test")[0].part([0], 23), cpu).labels[0]
    assert np.array_equal(store.read_picture("test", model.model_id, 3, 0).labels, expected)
    before = store.read(store.figure_file("decision_regions"))
    assert main(["figures", store.root, "decision_regions", "--resolution", "20"]) == 0
    assert capsys.readouterr().err == "", "what is as fine stays"
    assert store.read(store.figure_file("decision_regions")) == before


def test_planes_that_are_as_fine_already_are_left_alone(bare_run):
    store, sweep = bare_run
    model = sweep.models()[0].model_id
    wanted = [PictureKey(model, 3, "train", 1), PictureKey(model, 3, "test", 1)]
    take_pictures(store, sweep, wanted, 50)
    assert stored_pictures(store) == [store.picture_file("test", model, 3, 1)]


@pytest.mark.parametrize(("least", "threads"), [(50_000_000, 1), (0, 2)])
def test_small_networks_have_one_thread_and_torch_keeps_its_own_number(bare_run, monkeypatch, least, threads):
    store, sweep = bare_run
    model_id, used = sweep.models()[0].model_id, []

    def taken(*arguments: Any, **options: Any) -> Picture:
        used.append(torch.get_num_threads())
        return take_picture(*arguments, **options)

    monkeypatch.setattr(pictures, "take_picture", taken)
    monkeypatch.setattr(pictures, "SMALL_NETWORK", least)
    torch.set_num_threads(2)
    try:
        take_pictures(store, sweep, [PictureKey(model_id, 3, "test", 0)], 13)
        assert (used, torch.get_num_threads()) == ([threads], 2)
    finally:
        torch.set_num_threads(1)


def test_maps_are_enlarged_to_the_finest_by_their_nearest_points():
    coarse, fine = np.array([[0, 1], [2, 3]]), np.arange(16).reshape(4, 4)
    both = on_one_grid([coarse, fine])
    assert both[0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert np.array_equal(both[1], fine)


@pytest.mark.parametrize("resolution", ["1", "2001"])
def test_a_resolution_that_is_none_is_refused(finished_run, resolution, capsys):
    assert main(["figures", finished_run[0].root, "decision_regions", "--resolution", resolution]) == 2
    assert f"--resolution: {resolution} " in capsys.readouterr().err


def test_without_weights_figures_show_what_is_stored_of_several_grids(bare_run, capsys):
    store, sweep = bare_run
    model = next(model for model in sweep.models() if model.label_noise)
    store.write_picture("test", model.model_id, 3, 0, Picture(np.zeros((30, 30), np.uint8)))
    store.remove_folder("models")
    assert main(["figures", store.root, "decision_regions", "disagreement"]) == 0
    assert main(["figures", store.root, "decision_regions", "--resolution", "40"]) == 2
    assert f"--resolution: {store.path('models')}/" in capsys.readouterr().err
    assert stored_pictures(store) == [store.picture_file("test", model.model_id, 3, 0)]


def test_code_that_a_run_names_is_not_run_unless_it_is_trusted(bare_run, capsys):
    """The code is a user's own network under its import string, as in a sweep of their own."""
    store, sweep = bare_run
    code = "support.user_networks:convolutional"
    model = small_sweep(grid={"architecture": [code], "width": [4]}).models()[0]
    file = store.model_file(sweep.models()[0].model_id, "model.json")
    store.write_json(file, store.read_json(file) | {"config": model.model_dump(mode="json")})
    arguments = ["disagreement", store.root, "w4-adam-noise0-seed0", "w4-adam-noise0-seed1", "--resolution", "30"]
    assert main(arguments) == 2
    assert f"'{code}'" in capsys.readouterr().err
    assert main([*arguments, "--trust", code]) == 2
    assert "describes the model" in capsys.readouterr().err
    assert stored_pictures(store) == []
