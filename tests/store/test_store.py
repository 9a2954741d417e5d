"""What is stored comes back; what a disk or a hand has changed is named, and made again where it can be."""

import io
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from conftest import small_sweep
from support.refusals import refused

from dbviz_ray.__main__ import main
from dbviz_ray.cluster import ALONE
from dbviz_ray.cluster.schedule import halves
from dbviz_ray.errors import DamagedFileError, StageFailedError
from dbviz_ray.evaluation import records
from dbviz_ray.evaluation.records import load_network, save_model
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import run_sweep
from dbviz_ray.store import Picture, Store, StoredMargins
from dbviz_ray.store.models import Failure, Outcome
from dbviz_ray.training.checkpoints import CohortCheckpoints, state_of_members
from dbviz_ray.training.cohort import train_cohort


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "run")


def test_a_run_grows_and_never_changes_what_is_there(store):
    Path(store.root).mkdir()
    Path(store.root, ".sweep.yaml.123.tmp").write_text("name")  # by a claim that was killed
    small = {"grid": {"seed": [0, 1], "width": [4]}, "planes": {"test": {"count": 6}}}
    planes = small["planes"] | {"train": {"images": "train", "labels": "correct"}}
    large = {"grid": {"seed": [0, 1, 2], "width": [4, 8]}, "planes": planes, "margins": {"images": 5}}
    for sweep in (small, large, large | {"resources": {"retries": 9}, "description": "other words"}):
        store.claim(small_sweep(**sweep))
    for other, field in (
        ({"grid": small["grid"]}, "grid.seed"),
        ({"planes": small["planes"]}, "planes.train"),
        ({"planes": planes | {"test": {"count": 7}}}, "planes.test.count"),
        ({"margins": {"images": 6}}, "margins.images"),
        ({"training": {"epochs": 4, "batch_size": 64}}, "training.epochs"),
        ({"grid": large["grid"] | {"label_noise": [0.0, 0.2]}}, "grid.label_noise"),  # of which planes depend
    ):
        assert field in str(refused(store.claim, small_sweep(**large | other)))


@pytest.mark.parametrize("content", [None, b"", b"\0"])
def test_a_lost_sweep_is_made_again_for_the_models_that_are_there(copied_run, content):
    store, sweep = copied_run
    store.remove("sweep.yaml") if content is None else store.write("sweep.yaml", content)
    refused(store.check_owner, small_sweep(training={"epochs": 4}))
    before = {name: store.read(name) for folder in ("models", "scores") for name in store.files(folder)}
    run_sweep(sweep, store, Options(("train", "evaluate", "analyse"), ALONE))
    assert store.sweep().identity() == sweep.identity()
    assert {name: store.read(name) for name in before} == before


def test_a_folder_with_other_files_is_not_taken(tmp_path, sweep):
    (tmp_path / "thesis.tex").write_text("precious")
    for taken in (tmp_path, tmp_path / "thesis.tex"):
        assert refused(Store(taken).claim, sweep).field == "--out"
    assert (tmp_path / "thesis.tex").read_text() == "precious"


@pytest.mark.parametrize("planes", [slice(49, 51), slice(60, 110), slice(-5, None), slice(7, 3), slice(None)])
def test_some_planes_are_those_of_the_whole(store, planes):
    maps = np.random.default_rng(0).integers(0, 10, (120, 4, 4)).astype(np.uint8)
    probabilities = np.random.default_rng(0).random((120, 3, 3, 5)).astype(np.float16)
    store.write_label_maps("test", "m", 1, maps)
    store.write_probabilities("test", "m", 1, probabilities)
    assert np.array_equal(store.read_label_maps("test", "m", 1, planes), maps[planes])
    assert np.array_equal(store.read_probabilities("test", "m", 1, planes), probabilities[planes])
    with pytest.raises(ValueError, match="step"):
        store.read_label_maps("test", "m", 1, slice(0, 10, 2))


def test_of_other_planes_no_more_than_a_row_group_is_read_once_the_file_is_checked(store, monkeypatch):
    """Counted in bytes of the file, of whose end pyarrow reads 64 kB to begin with."""
    store.write_label_maps("test", "m", 1, np.random.default_rng(0).integers(0, 10, (1000, 50, 50)).astype(np.uint8))
    size = len(store.read(store.labels_file("test", "m", 1)))
    read = []

    class CountedFile(io.FileIO):
        def read(self, count=-1):
            read.append(count)
            return super().read(count)

    class Counting:
        def open_input_file(self, path):
            return pa.PythonFile(CountedFile(path), mode="r")

    monkeypatch.setitem(store.__dict__, "_place", (Counting(), store.root))
    assert len(store.read_label_maps("test", "m", 1, slice(0, 50))) == 50
    assert sum(read) == size, "at first all, to check the seal"
    read.clear()
    assert len(store.read_label_maps("test", "m", 1, slice(100, 150))) == 50
    assert 0.045 * size < sum(read) - 65536 < 0.055 * size


def test_label_maps_with_straight_boundaries_are_small(store):
    """1.25 million labels; a network's boundaries bend, which costs 80 to 85 kB."""
    sides = np.stack(np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1, 50)), axis=-1)
    centres = np.random.default_rng(0).random((500, 4, 1, 1, 2))
    maps = ((sides - centres) ** 2).sum(-1).argmin(axis=1).astype(np.uint8)
    store.write_label_maps("test", "m", 1, maps)
    assert len(store.read(store.labels_file("test", "m", 1))) < 70_000
    assert np.array_equal(store.read_label_maps("test", "m", 1), maps)


def test_models_and_snapshots_come_back_and_can_be_taken_over(store, tmp_path, digits, cpu, monkeypatch):
    """A model is complete when its last file is there."""
    settings = {"epochs": 3, "batch_size": 64, "snapshots": [1, 2]}
    models, snapshots = small_sweep(training=settings).cohorts()[0].models[:2], []
    last = train_cohort(models, digits, cpu, on_snapshot=snapshots.extend)
    for snapshot in snapshots:
        records.save_snapshot(store, snapshot, digits)
    for trained in last:
        monkeypatch.setattr(Store, "write_json", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            save_model(store, trained, digits, {})
        assert trained.config.model_id not in store.complete_models()
        monkeypatch.undo()
        save_model(store, trained, digits, {"device": "cpu"})
        assert trained.config.model_id in store.complete_models()
        facts = store.read_json(store.model_file(trained.config.model_id, "model.json"))
        assert (facts["outcome"], facts["diverged_epoch"], facts["device"]) == ("done", None, "cpu")
        assert 0 < facts["sharpness"] < 1
        assert records.load_config(store, trained.config.model_id) == trained.config
    history, _ = store.read_parquet(store.model_file(models[0].model_id, "history.parquet"))
    assert history["epoch"].to_pylist() == [1, 2, 3]
    other = Store(tmp_path / "other")
    for trained in [*snapshots, *last]:
        records.copy_model(store, other, trained.config)
        network = load_network(other, trained.config, digits.image_shape, 10, trained.epoch)
        assert all(torch.equal(t, trained.weights[name]) for name, t in network.state_dict().items())
        with torch.no_grad():
            predicted = network(digits.normalised(digits.test_images)).argmax(1)
        assert torch.equal(predicted, trained.predictions["test"])
        stored = other.read_predictions(trained.config.model_id, trained.epoch if trained.epoch < 3 else None)
        expected = [*trained.predictions["train"].tolist(), *trained.predictions["test"].tolist()]
        assert stored["predicted"].to_pylist() == expected
    assert other.complete_models() == {model.model_id for model in models}


def test_checkpoints_come_back_and_a_damaged_one_is_as_good_as_none_and_said(store, sweep):
    cohort = sweep.cohorts()[0]
    checkpoints = CohortCheckpoints(store, cohort)
    assert checkpoints.load() is None
    state = {"a/b": torch.arange(6.0).view(2, 3), "epoch": torch.tensor(7)}
    checkpoints.save(state)
    back = checkpoints.load()
    assert all(torch.equal(back[name], tensor) for name, tensor in state.items())
    assert store.begun_cohorts() == {cohort.cohort_id: [model.model_id for model in cohort.models]}
    file = store.cohort_file(cohort.cohort_id, "state.safetensors")
    store.write(file, store.read(file)[:-20])
    assert checkpoints.load() is None
    assert file in checkpoints.remark


def test_a_checkpoint_is_split_among_the_halves_of_its_cohort(store, sweep, digits):
    """Each half goes on from where the whole was; what it then comes to is tested with the training."""
    whole = sweep.cohorts()[0]
    CohortCheckpoints(store, whole).split(halves(whole))
    assert store.begun_cohorts() == {}, "nothing was saved"
    train_cohort(whole.models, digits, torch.device("cpu"), checkpoints=CohortCheckpoints(store, whole))
    state = CohortCheckpoints(store, whole).load()
    CohortCheckpoints(store, whole).split(halves(whole))
    begun = {half.cohort_id: [model.model_id for model in half.models] for half in halves(whole)}
    assert store.begun_cohorts() == begun
    for half, members in zip(halves(whole), (range(3), range(3, 6)), strict=True):
        found = CohortCheckpoints(store, half).load()
        torch.testing.assert_close(found, state_of_members(state, members), rtol=0, atol=0, equal_nan=True)


def test_failures_are_recorded_until_they_are_forgotten(store):
    failures = {name: Failure(name, "train", Outcome.CRASHED, "it died,\nor so") for name in ("a-1", "b-2")}
    for failure in failures.values():
        store.write_failure(failure)
    assert store.failures() == failures
    store.write("failures/c-3.json", b"{}")
    store.write("failures/d-4.json", b"not JSON")
    assert store.failures() == failures
    store.forget_failures(["a-1", "unknown"])
    assert store.failures().keys() == {"b-2"}


def test_what_is_complete_among_some_is_asked_without_a_listing(store, monkeypatch):
    store.write_json(store.model_file("a", "model.json"), {})
    store.write(store.model_file("b", "weights.safetensors"), b"1")
    monkeypatch.setattr(Store, "files", None)
    assert store.complete_among(["a", "b", "c"]) == {"a"}


def test_a_run_of_before_a_field_was_added_is_still_the_same_sweep(store, sweep):
    store.claim(sweep)
    fields = yaml.safe_load(store.read("sweep.yaml"))
    del fields["margins"], fields["minimum_region_share"], fields["planes"]["test"]["probabilities"]
    store.write("sweep.yaml", yaml.safe_dump(fields).encode())
    store.check_owner(sweep)
    assert "minimum_region_share" in str(refused(store.check_owner, small_sweep(minimum_region_share=0.1)))


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
    fails = Mock(side_effect=OSError("connection lost"))
    monkeypatch.setattr(Store, "read", fails)
    monkeypatch.setattr("dbviz_ray.store.directory.decoded", fails)
    with pytest.raises(OSError, match="connection lost"):
        read()
    monkeypatch.undo()
    store.remove(name)
    with pytest.raises(FileNotFoundError):
        read()


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
    labels, predictions = store.labels_file("test", model, 3), store.model_file(model, "predictions.parquet")
    file = {"labels": labels, "predictions": predictions, "groups": store.scores_file("groups")}[kind]
    store.write(file, store.read(file)[:-20])
    with pytest.raises(StageFailedError, match=rf"{file} .* --stages {mended_by} "):
        run_sweep(sweep, store, Options(tuple(stages.split(","))))
    assert store.exists(file), "nothing goes that the command does not make again"
    if kind == "groups":
        run_sweep(sweep, store, Options(("analyse",)))
        store.read_parquet(file)


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
