"""Files that a disk or a hand has changed: named, and made again where they can be."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import small_sweep

from dbviz_ray.__main__ import main
from dbviz_ray.cluster import ALONE
from dbviz_ray.config import Cohort
from dbviz_ray.errors import DamagedFileError, StageFailedError
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import run_sweep
from dbviz_ray.store import Picture, Store, StoredMargins
from dbviz_ray.training.checkpoints import CohortCheckpoints


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 16]) + content[place + 1 :]


@pytest.fixture
def written(tmp_path):
    store, generator = Store(tmp_path / "run"), np.random.default_rng(0)
    labels = generator.integers(0, 10, (120, 5, 5)).astype(np.uint8)
    probabilities = generator.random((120, 5, 5, 3)).astype(np.float16)
    distances, reaches = generator.random((2, 7, 3), np.float32)
    margins = StoredMargins(np.arange(7, dtype=np.int32), np.ones(7, np.uint8), distances, reaches, {"reach": 1.0})
    store.write_label_maps("test", "m", 3, labels)
    store.write_probabilities("test", "m", 3, probabilities)
    store.write_margins("m", 3, margins)
    store.write_picture("test", "m", 3, 0, Picture(labels[0], probabilities[0, :, :, 0]))
    readers = {
        store.labels_file("test", "m", 3): lambda: store.read_label_maps("test", "m", 3),
        store.probabilities_file("test", "m", 3): lambda: store.read_probabilities("test", "m", 3),
        store.margins_file("m", 3): lambda: store.read_margins("m", 3),
        store.picture_file("test", "m", 3, 0): lambda: store.read_picture("test", "m", 3, 0),
    }
    return store, readers


def test_whatever_byte_of_a_file_changes_it_is_named(written):
    store, readers = written
    for name, read in readers.items():
        content, file = store.read(name), Path(store.path(name))
        store.write_parquet(name, pa.table({"x": [1, 2]}))
        word = content.index(b'"seal": "')  # without it a file has no seal
        flips = [flipped(content, place) for place in range(0, len(content), 7) if not word <= place < word + 9]
        for damaged in (store.read(name), b"", content[: len(content) // 2], content[:-1], *flips):
            file.write_bytes(damaged)
            with pytest.raises(DamagedFileError) as raised:
                read()
            assert raised.value.name == name


def test_an_evaluation_belongs_to_the_weights_and_planes_that_it_was_made_with(written):
    store, _ = written
    weights, planes = store.model_file("m", "weights.safetensors"), store.planes_file("test")

    def with_weights(value: float, seed: int) -> None:
        store.write_tensors(weights, {"w": torch.full((3,), value)})
        store.write_json(store.model_file("m", "model.json"), {"seals": {weights: store.seal(weights)}})
        store.write_parquet(planes, pa.table({"x": [seed]}))

    with_weights(0.0, 0)
    store.write_label_maps("test", "m", 3, np.zeros((2, 3, 3), np.uint8))
    for other in ((1.0, 0), (0.0, 1)):
        with_weights(*other)
        with pytest.raises(DamagedFileError, match="made with other"):
            Store(store.root).read_label_maps("test", "m", 3)
    with_weights(0.0, 0)
    assert Store(store.root).read_label_maps("test", "m", 3).shape == (2, 3, 3)
    store.write_tensors(weights, {"w": torch.ones(3)})
    with pytest.raises(DamagedFileError, match="version"):
        Store(store.root).check_model("m")


def test_what_is_absent_or_cannot_be_read_is_not_called_damaged(written, monkeypatch):
    store, readers = written
    name, read = next(iter(readers.items()))

    def fails(*_):
        raise OSError("connection lost")

    monkeypatch.setattr(Store, "read", fails)
    monkeypatch.setattr("dbviz_ray.store.directory.decoded", fails)
    with pytest.raises(OSError, match="connection lost"):
        read()
    monkeypatch.undo()
    store.remove(name)
    with pytest.raises(FileNotFoundError):
        read()


@pytest.mark.parametrize("kind", ["probabilities", "pictures"])
def test_with_probabilities_and_pictures_go_the_labels_that_vouch_for_them(written, kind):
    store, readers = written
    store.drop(next(name for name in readers if name.startswith(kind)))
    assert store.labelled("test") == set()
    assert store.with_margins() == {("m", 3)}
    store.drop(store.margins_file("m", 3))
    assert store.with_margins() == set()


def test_a_damaged_checkpoint_is_as_good_as_none_and_said(tmp_path):
    store, cohort = Store(tmp_path), Cohort(models=tuple(small_sweep().models()[:2]))
    checkpoints = CohortCheckpoints(store, cohort)
    checkpoints.save({"epoch": torch.tensor(3)})
    state = store.cohort_file(cohort.cohort_id, "state.safetensors")
    store.write(state, store.read(state)[:-20])
    assert checkpoints.load() is None
    assert state in checkpoints.remark


@pytest.mark.parametrize(
    ("kind", "stages", "mended_by"),
    [
        ("labels", "analyse", "evaluate,analyse"),
        ("labels", "analyse,report", "evaluate,analyse,report"),
        ("predictions", "evaluate,analyse", "train,evaluate,analyse"),
        ("groups", "report", "analyse,report"),
    ],
)
def test_a_command_that_does_not_mend_a_file_names_it_and_what_does(copied_run, kind, stages, mended_by):
    store, sweep = copied_run
    model = sweep.models()[3].model_id
    run_sweep(sweep, store, Options(("analyse",)))
    files = {
        "labels": store.labels_file("test", model, 3),
        "predictions": store.model_file(model, "predictions.parquet"),
        "groups": store.scores_file("groups"),
    }
    store.write(files[kind], store.read(files[kind])[:-20])
    with pytest.raises(StageFailedError, match=rf"{files[kind]} .* --stages {mended_by} "):
        run_sweep(sweep, store, Options(tuple(stages.split(","))))
    assert store.exists(files[kind]), "nothing goes that the command does not make again"
    if kind == "groups":
        run_sweep(sweep, store, Options(("analyse",)))
        store.read_parquet(files[kind])


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_of_every_kind_are_named_and_made_again_as_they_were_and_no_others(seed, copied_run, capsys):
    store, sweep = copied_run
    models, generator = [model.model_id for model in sweep.models()], np.random.default_rng(seed)
    first, second, third, fourth, fifth, other = generator.choice(models, 6, replace=False)
    before = {path: path.read_bytes() for path in Path(store.root, "scores").iterdir()}
    files = ("weights.safetensors", "predictions.parquet", "history.parquet", "model.json")
    names = [store.model_file(model, file) for model, file in zip((first, second, third, fourth), files, strict=True)]
    names += [store.planes_file("train"), store.labels_file("test", fifth, 3)]
    names += [f"scores/{path.name}" for path in generator.choice(sorted(before), 3, replace=False)]
    for name in names:
        content = store.read(name)
        damages = [flipped(content, int(generator.integers(len(content)))), content[: len(content) // 2], b""]
        store.write(name, damages[int(generator.integers(3))])
    store.write(store.labels_file("test", second, 3), store.read(store.labels_file("test", third, 3)))
    assert main(["verify", store.root]) == 1
    told = capsys.readouterr().err
    assert [name for name in names if store.path(name) not in told] == []
    assert store.labels_file("test", second, 3) in told, "it was made with the weights of another model"
    assert main(["verify", store.root, "--drop"]) == 0
    others = [Path(store.path(store.labels_file("test", other, 3))), *Path(store.path(f"models/{other}")).iterdir()]
    kept = {path: path.stat().st_mtime_ns for path in others}
    run_sweep(sweep, store, Options(("train", "evaluate", "analyse"), ALONE))
    assert main(["verify", store.root]) == 0
    assert {path: path.read_bytes() for path in before} == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
