"""Tasks of the evaluation, and pictures: single planes on finer grids, taken with label maps or when somebody asks."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import small_sweep
from support.cohorts import cohort_of
from support.made_up_runs import made_up_run
from support.random_planes import random_planes

from dbviz_ray.__main__ import main
from dbviz_ray.analysis.figures.sweep_tables import on_one_grid, shown_picture
from dbviz_ray.analysis.scores.pair_means import PairSet
from dbviz_ray.analysis.scores.plane_scores import score_planes
from dbviz_ray.analysis.scores.trained import read_predictions, stored_planes
from dbviz_ray.config import MarginsConfig, PlaneSetConfig, SweepConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.evaluation import pictures
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.evaluation.margins import margins
from dbviz_ray.evaluation.pictures import SHOWN_PLANE, take_picture, take_pictures
from dbviz_ray.evaluation.records import check_predictions, load_network, load_planes, save_model, save_planes
from dbviz_ray.evaluation.work import LabellingWork, Task, missing_tasks
from dbviz_ray.planes import GridPoints
from dbviz_ray.stages import Options
from dbviz_ray.stages.evaluate import work_of
from dbviz_ray.stages.run import state_of
from dbviz_ray.store import Picture, PictureKey, Store
from dbviz_ray.training.cohort import train_cohort

PLANES = {
    "test": {"count": 3, "resolution": 6, "probabilities": True},
    "margins": {"count": 2, "resolution": 6, "precision": "bfloat16"},
}


@pytest.fixture
def asks_for_all() -> SweepConfig:
    settings = {"epochs": 3, "batch_size": 64, "snapshots": [1]}
    return small_sweep(planes=PLANES, training=settings, margins={"images": 8, "directions": 3})


def test_what_is_missing_is_found_file_by_file(asks_for_all, tmp_path):
    whats = ["test", "margins", None]
    empty = missing_tasks(asks_for_all, Store(tmp_path / "empty"))
    assert [task.what for task in empty] == [what for what in whats for _ in range(12 * 2)]
    assert len({(task.what, task.model.model_id, task.epoch) for task in empty}) == len(empty)
    store = made_up_run(tmp_path / "run", asks_for_all)
    assert missing_tasks(asks_for_all, store) == []
    model, other = asks_for_all.models()[4:6]
    store.drop(store.margins_file(model.model_id, 3))
    store.drop(store.labels_file("margins", model.model_id, 1))
    store.drop(store.probabilities_file("test", model.model_id, 3))  # with them, and pictures, go the labels
    store.drop(store.picture_file("test", other.model_id, 3, 0))
    expected = [Task("test", model, 3), Task("test", other, 3), Task("margins", model, 1), Task(None, model, 3)]
    assert state_of(asks_for_all, store, Options()).tasks == expected
    without = small_sweep(planes=PLANES, training=asks_for_all.training.model_dump())
    assert [task.what for task in missing_tasks(without, store)] == ["test", "test", "margins"]


def test_work_writes_what_it_finds(asks_for_all, tmp_path, network, digits, cpu):
    store = Store(tmp_path)
    work = work_of(asks_for_all, store)
    assert set(work) == {task.what for task in missing_tasks(asks_for_all, store)}
    for found in work.values():
        found.do(network, cpu, store, "model", 3)
    planes = work["test"].planes
    labelled = label_planes(network, planes, cpu, probabilities=True)
    assert np.array_equal(store.read_label_maps("test", "model", 3), labelled.labels)
    assert np.array_equal(store.read_probabilities("test", "model", 3), labelled.probabilities)
    half = label_planes(network, work["margins"].planes, cpu, half=True)
    assert np.array_equal(store.read_label_maps("margins", "model", 3), half.labels)
    assert not store.exists(store.probabilities_file("margins", "model", 3))
    stored, lines = store.read_margins("model", 3), work[None]
    assert np.array_equal(stored.distances, margins(network, lines, cpu).distances)
    assert np.array_equal(stored.reaches, lines.reaches.float())
    assert stored.distances.shape == (8, 3)
    with torch.no_grad():
        said = network(digits.normalised(digits.train_images)).argmax(1)
    assert stored.predicted.tolist() == said.numpy()[stored.indices].tolist()
    defaults = MarginsConfig()
    expected = defaults.model_dump(include={"split", "scan", "steps", "reach", "tolerance", "seed"})
    assert stored.facts == expected
    assert work["test"].points == 3 * 36, "too few for a picture"
    assert work[None].points == 8 + 8 * 3 * (defaults.steps + lines.halvings)


@pytest.mark.parametrize("interrupted", ["probabilities", "picture", "label_maps"])
def test_labels_are_written_last(tmp_path, network, cpu, monkeypatch, interrupted):
    store = Store(tmp_path)
    sweep = small_sweep(planes={"test": {"count": 20, "resolution": 8, "probabilities": True}})
    labelling = work_of(sweep, store)["test"]
    monkeypatch.setattr(Store, f"write_{interrupted}", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        labelling.do(network, cpu, store, "model", 3)
    assert store.labelled("test") == set()
    assert store.exists(store.probabilities_file("test", "model", 3)) == (interrupted != "probabilities")
    assert store.exists(store.picture_file("test", "model", 3, 0)) == (interrupted == "label_maps")


def test_a_thousand_classes_are_stored_and_scored(tmp_path, cpu):
    generator, store = torch.Generator().manual_seed(0), Store(tmp_path)
    pixels = torch.randint(0, 256, (2500, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels, names = torch.arange(2500) % 1000, tuple(map(str, range(1000)))
    data = Dataset(pixels[:2000], labels[:2000], pixels[2000:], labels[2000:], names, mean=(0.5,), deviation=(0.1,))
    models = cohort_of(epochs=1, batch_size=500)[:2]
    sweep, planes = small_sweep(planes={"test": {"count": 3, "resolution": 7}}), random_planes(3, 7)
    save_planes(store, "test", planes, data)
    maps = []
    for trained in train_cohort(models, data, cpu):
        model = trained.config
        save_model(store, trained, data, {})
        network = load_network(store, model, data.image_shape, 1000)
        check_predictions(store, model, network, data, 1)
        LabellingWork("test", planes, PlaneSetConfig()).do(network, cpu, store, model.model_id, 1)
        [(_, _, points)] = GridPoints(planes, cpu, torch.float64).batches(10_000)
        maps.append(network(points).argmax(dim=1).view(3, 7, 7).numpy())
        predictions = read_predictions(store, [model], [1])
        expected = network(data.normalised(data.test_images, torch.float64)).argmax(dim=1)
        assert np.array_equal(predictions.on_test[0], expected)
        assert predictions.test_wrong.mean() == (expected != data.test_labels).double().mean()
    table, _ = store.read_parquet(store.labels_file("test", models[0].model_id, 1))
    assert table.schema.field("labels").type == pa.list_(pa.uint16(), 49)
    assert np.max(maps) > 255
    stored = stored_planes(store, sweep, "test", models, [1, 1])
    assert np.array_equal([stored.labels(model, slice(0, 3)) for model in range(2)], maps)
    pair = PairSet(np.array([0]), np.array([1]), singly=True)
    found = score_planes(stored, frozenset({"reproducibility", "fragmentation"}), [pair], 0.0)
    assert found.same_points.on_planes(pair) == pytest.approx((maps[0] == maps[1]).mean(axis=(1, 2)))
    assert found.class_shares.shape == (2, 3, 1000)
    assert (found.regions["fragmentation"][0] >= [len(np.unique(plane)) for plane in maps[0]]).all()


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
def test_evaluators_take_a_picture_before_label_maps_vouch_for_it(tmp_path, network, cpu, probabilities, resolution):
    store = Store(tmp_path)
    sweep = small_sweep(planes={"test": {"count": 100, "resolution": 8, "probabilities": probabilities}})
    work = work_of(sweep, store)["test"]
    work.do(network, cpu, store, "m", 3)
    picture = store.read_picture("test", "m", 3, SHOWN_PLANE)
    assert (picture.resolution, picture.confidence is not None) == (resolution, probabilities)
    assert np.array_equal(shown_picture(store, PictureKey("m", 3, "test", 0)).labels, picture.labels)
    scored = store.read_label_maps("test", "m", 3)
    assert np.array_equal(shown_picture(store, PictureKey("m", 3, "test", 1)).labels, scored[1])


@pytest.fixture
def bare_run(copied_run):
    copied_run[0].remove_folder("pictures")
    return copied_run


def test_what_the_figures_show_is_labelled_and_nothing_else(bare_run, cpu, capsys):
    store, sweep = bare_run
    assert main(["figures", store.root, "decision_regions", "--resolution", "23"]) == 0
    assert "label    12 models in " in capsys.readouterr().err
    model = next(model for model in sweep.models() if model.label_noise)
    assert len(store.files("pictures")) == 2 * 2 * 3, "widths, noise and seeds; no other plane set"
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
    assert store.files("pictures") == [store.picture_file("test", model, 3, 1)]


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
    assert store.files("pictures") == [store.picture_file("test", model.model_id, 3, 0)]


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
    assert store.files("pictures") == []
