"""Files that a disk or a hand has changed: named, and made again where they can be."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from conftest import small_sweep
from support.whole_sweeps import SMALL, TABLES_ONLY, copied, run

from dbviz_ray.config import Cohort
from dbviz_ray.errors import DamagedFileError, StageFailedError
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import run_sweep
from dbviz_ray.store import Picture, Store, StoredMargins
from dbviz_ray.training.checkpoints import CohortCheckpoints


def cut(store: Store, name: str) -> None:
    store.write(name, store.read(name)[:-20])


def flipped(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 1 << 4
    return bytes(changed)


def damages(content: bytes) -> list[bytes]:
    """Cut off at several places, and a byte changed in the pages and all over the footer."""
    footer = int.from_bytes(content[-8:-4], "little") + 8
    cut = [content[: int(len(content) * share)] for share in (0, 0.1, 0.5, 0.9)]
    ends = [content[:-footer], content[:-8], content[:-1]]
    middle = flipped(content, (len(content) - footer) // 2)
    return [*cut, *ends, middle, *(flipped(content, -place) for place in (1, 6, footer - 3))]


@pytest.fixture
def written(tmp_path):
    """A store with a file of each kind that evaluators write, and how each is read."""
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


def test_a_damaged_file_is_named(written):
    store, readers = written
    for name, read in readers.items():
        content = store.read(name)
        store.write_parquet(name, pa.table({"x": [1, 2]}))
        for damaged in [store.read(name), *damages(content)]:
            store.write(name, damaged)
            with pytest.raises(DamagedFileError) as raised:
                read()
            assert raised.value.name == name
            assert "\n" not in str(raised.value)
        store.write(name, content)
        read()


def test_whatever_byte_of_a_file_changes_no_other_label_comes_back(tmp_path):
    store = Store(tmp_path)
    labels = np.random.default_rng(0).integers(0, 10, (60, 4, 4)).astype(np.uint8)
    store.write_label_maps("test", "m", 3, labels)
    name = store.labels_file("test", "m", 3)
    content = store.read(name)
    found = 0
    for place in range(len(content)):
        Path(store.path(name)).write_bytes(flipped(content, place))
        try:
            assert np.array_equal(store.read_label_maps("test", "m", 3), labels), place
        except DamagedFileError:
            found += 1
    assert found > len(content) / 2


def test_an_evaluation_belongs_to_the_weights_and_planes_that_it_was_made_with(written):
    store, _ = written
    weights, planes = store.model_file("m", "weights.safetensors"), store.planes_file("test")

    def with_weights(value: float, seed: int) -> None:
        store.write_tensors(weights, {"w": torch.full((3,), value)})
        store.write_json(store.model_file("m", "model.json"), {"seals": {weights: store.seal(weights)}})
        store.write_parquet(planes, pa.table({"x": [seed]}))

    with_weights(0.0, 0)
    store.write_label_maps("test", "m", 3, np.zeros((2, 3, 3), np.uint8))
    labels = store.labels_file("test", "m", 3)
    for other in ((1.0, 0), (0.0, 1)):
        with_weights(*other)
        with pytest.raises(DamagedFileError, match="made with other"):
            Store(store.root).read_label_maps("test", "m", 3)
    with_weights(0.0, 0)
    assert Store(store.root).read_label_maps("test", "m", 3).shape == (2, 3, 3)
    store.write_tensors(weights, {"w": torch.ones(3)})
    with pytest.raises(DamagedFileError, match="version"):
        Store(store.root).check_model("m")
    assert Store(store.root).read_label_maps("test", "m", 3, slice(0, 1)).shape == (1, 3, 3)
    store.write(labels, flipped(store.read(labels), 40))
    with pytest.raises(DamagedFileError):
        store.read_label_maps("test", "m", 3, slice(0, 1))


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


def test_all_that_evaluators_made_is_looked_through(written):
    store, readers = written
    folders = ["models", *(name.partition("/")[0] for name in readers)]
    assert store.damaged_files(folders) == []
    names = [name for name in readers if not name.startswith("margins")]
    for name in names:
        cut(store, name)
    store.write("models/m/model.json", b"{")
    store.write("models/m/weights.safetensors", b"\0" * 100)
    store.write("models/m/notes.txt", b"somebody's own")
    found = {error.name for error in store.damaged_files(folders)}
    assert found == {*names, "models/m/model.json", "models/m/weights.safetensors"}
    assert store.damaged_files(["margins"]) == []


@pytest.mark.parametrize("kind", ["probabilities", "pictures"])
def test_with_probabilities_and_pictures_go_the_labels_that_vouch_for_them(written, kind):
    store, readers = written
    store.drop(next(name for name in readers if name.startswith(kind)))
    assert store.labelled("test") == set()
    assert store.with_margins() == {("m", 3)}
    store.drop(store.margins_file("m", 3))
    assert store.with_margins() == set()


def test_with_a_file_of_a_model_goes_all_that_was_made_with_it_and_nothing_else(written):
    store, readers = written
    store.write_label_maps("test", "other", 3, np.zeros((2, 3, 3), np.uint8))
    for model_id in ("m", "other"):
        for file in ("model.json", "weights.safetensors", "snapshots/epoch=00002/weights.safetensors"):
            store.write(store.model_file(model_id, file), b"{}")
    store.drop(store.model_file("m", "weights.safetensors", 2))
    assert store.complete_models() == {"other"}
    assert not any(store.exists(name) for name in readers)
    assert not os.path.exists(store.path("models/m"))
    assert store.labelled("test") == {("other", 3)}


def test_a_damaged_checkpoint_is_as_good_as_none_and_said(tmp_path):
    store, cohort = Store(tmp_path), Cohort(models=tuple(small_sweep().models()[:2]))
    checkpoints = CohortCheckpoints(store, cohort)
    checkpoints.save({"epoch": torch.tensor(3)})
    state = store.cohort_file(cohort.cohort_id, "state.safetensors")
    cut(store, state)
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
    cut(store, files[kind])
    with pytest.raises(StageFailedError, match=rf"{files[kind]} .* --stages {mended_by} "):
        run_sweep(sweep, store, Options(tuple(stages.split(","))))
    assert store.exists(files[kind]), "nothing goes that the command does not make again"
    if kind == "groups":
        run_sweep(sweep, store, Options(("analyse",)))
        store.read_parquet(files[kind])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_command_mends_a_run_and_does_nothing_else(undisturbed, tmp_path):
    directory = copied(undisturbed[0], tmp_path / "run")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in directory.rglob("*.parquet")}
    model, *_ = of_a_cohort = sorted(directory.glob("models/*-w4-*"))
    labels, probabilities, pictures = (
        sorted(directory.glob(f"{kind}/plane_set=test/*-w16-*/**/*.parquet"))
        for kind in ("labels", "probabilities", "pictures")
    )
    margins = sorted(directory.glob("margins/*-w64-*/**/*.parquet"))
    assert [len(paths) for paths in (of_a_cohort, labels, probabilities, margins)] == [3, 3, 3, 3]
    labels[1].write_bytes(before[labels[1]][1][:-30])
    pictures[0].write_bytes(b"")
    margins[1].write_bytes(b"")
    margins[2].unlink()
    os.truncate(model / "weights.safetensors", 100)
    os.remove(directory / "scores" / "findings.json")
    result = run(directory, *SMALL, *TABLES_ONLY, address="none")  # which Ray has made
    [again] = [line for line in result.stderr.splitlines() if "damaged" in line]
    assert "4 damaged files" in again
    assert "train    8 of 9 models were there already\n" in result.stderr
    assert {path: path.read_bytes() for path in before} == {path: content for path, (_, content) in before.items()}
    remade = {path for path, (changed, _) in before.items() if path.stat().st_mtime_ns != changed}
    of_the_model = {path for path in before if model.name in str(path)}
    assert {path for path in remade if "scores" not in path.parts} == {
        *labels[:2], *probabilities[:2], *pictures[:2], *margins[1:], *of_the_model
    }  # fmt: skip
    assert Store(directory).with_margins() == Store(directory).labelled("test")
