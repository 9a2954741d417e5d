import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import small_sweep
from support.cohorts import cohort_of
from support.made_up_runs import made_up_run
from support.random_planes import random_planes
from support.refusals import refused

from dbviz_ray.analysis.scores.pair_means import PairSet
from dbviz_ray.analysis.scores.plane_scores import score_planes
from dbviz_ray.analysis.scores.trained import read_predictions, stored_planes
from dbviz_ray.config import MarginsConfig, PlaneSetConfig, SweepConfig
from dbviz_ray.config.validation import validated
from dbviz_ray.datasets import Dataset
from dbviz_ray.evaluation.label_maps import label_planes
from dbviz_ray.evaluation.margins import margins
from dbviz_ray.evaluation.records import check_predictions, load_network, save_model, save_planes
from dbviz_ray.evaluation.work import LabellingWork, Task, missing_tasks
from dbviz_ray.planes import GridPoints
from dbviz_ray.stages import Options
from dbviz_ray.stages.evaluate import work_of
from dbviz_ray.stages.run import state_of
from dbviz_ray.store import Store
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
    model = asks_for_all.models()[4]
    store.drop(store.margins_file(model.model_id, 3))
    store.drop(store.labels_file("margins", model.model_id, 1))
    store.drop(store.probabilities_file("test", model.model_id, 3))
    expected = [Task(what, model, epoch) for what, epoch in zip(whats, (3, 1, 3), strict=True)]
    assert state_of(asks_for_all, store, Options()).tasks == expected
    without = small_sweep(planes=PLANES, training=asks_for_all.training.model_dump())
    assert [task.what for task in missing_tasks(without, store)] == whats[:2]


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
    stored, lines = store.read_margins("model", 3), work[None].lines
    assert np.array_equal(stored.distances, margins(network, lines, cpu).distances)
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


WRONG = {"split": "x", "images": 0, "steps": 2.5, "reach": 0, "scan": "odd", "tolerance": -math.inf, "direction": 3}


@pytest.mark.parametrize(("field", "value"), WRONG.items())
def test_mistakes_in_margins_are_named(field, value):
    for fields in ({field: value}, {"scan": "paper", field: value}):
        assert refused(validated, SweepConfig, {"name": "x", "margins": fields}).field == f"margins.{field}"
