"""MLflow for real, in an sqlite file; tests/test_tracking_server.py has the servers."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from conftest import small_sweep
from made_up_runs import made_up_run
from PIL import Image

from analysis.curves import EPOCH, WIDTH
from analysis.figures import figures_of
from analysis.parts import metrics_of, parts_of
from analysis.tables import compute_tables, read_table, tables_of, write_tables
from analysis.tracking import TrackingUnavailableError, is_tracked, track, tracking_uri, without_password
from analysis.tracking_address import told_without_password
from dbviz_ray.store import Store


@pytest.fixture
def run(finished_run, tmp_path, monkeypatch):
    """A copy of the finished run, and no tracking URI in the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    store, sweep = finished_run
    shutil.copytree(store.root, tmp_path / "runs" / "small")
    return Store(tmp_path / "runs" / "small"), sweep


def runs_of(uri, sweep):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(sweep.name)
    return client, client.search_runs([experiment.experiment_id])


def check_runs(store, sweep, uri):
    """Everything is there, and once."""
    client, runs = runs_of(uri, sweep)
    parents = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    curves = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    assert len(parents) == 1
    assert len(curves) == 8  # two widths, which are no curve, and two noise levels on two plane sets
    assert {c.data.tags["mlflow.parentRunId"] for c in curves} == {parents[0].info.run_id}
    assert all(r.info.status == "FINISHED" for r in runs)
    assert parents[0].data.params["training.epochs"] == "3"
    assert "git_commit" in parents[0].data.params
    table = read_table(store, "groups")
    for run in curves:
        key = run.data.params
        rows = table[(table["plane_set"] == key["plane_set"]) & (table["label_noise"] == float(key["label_noise"]))]
        rows = rows[rows["width"] == int(key["width"])]
        for column in ("test_error", "reproducibility_low"):
            history = client.get_metric_history(run.info.run_id, column)
            assert len(history) == len(rows)
            assert {m.step: m.value for m in history} == pytest.approx(
                dict(zip(rows["epoch"], rows[column], strict=True))
            )
    artifacts = {
        a.path for folder in ("tables", "figures") for a in client.list_artifacts(parents[0].info.run_id, folder)
    }
    assert artifacts == {
        *(f"tables/{name}.csv" for name in tables_of(sweep)),
        *(f"figures/{name}.png" for name in figures_of(sweep)),
    }  # fmt: skip
    for path in (*artifacts, "sweep.yaml"):
        content = Path(client.download_artifacts(parents[0].info.run_id, path)).read_bytes()
        if path.startswith("figures/"):
            assert Image.open(io.BytesIO(content)).size > (100, 100)
        else:
            assert content == store.read(path.replace("tables/", "scores/"))


def test_sqlite_beside_the_run_directory(run, tmp_path):
    store, sweep = run
    uri = tracking_uri(store)
    assert uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert not is_tracked(store)
    first = track(store, sweep)
    check_runs(store, sweep, uri)
    assert is_tracked(store)
    assert track(store, sweep) == first, "logging the same results again changes nothing"
    check_runs(store, sweep, uri)
    changed = {name: read_table(store, name) for name in tables_of(sweep)}
    changed["groups"]["test_error"] /= 2
    write_tables(store, changed)
    assert not is_tracked(store)
    assert track(store, sweep) != first, "other results replace the runs"
    check_runs(store, sweep, uri)


def test_a_sweep_of_curves_is_a_run_a_curve(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    training = {"epochs": 3, "batch_size": 64, "snapshots": [1, 2]}
    recipes = {"plain": {}, "SGD+SAM": {"optimizer": "sgd", "sam_radius": 0.05}}
    sweep = small_sweep(grid={"width": [2, 4, 8], "recipes": recipes, "seed": [0, 1]}, training=training)
    store = made_up_run(tmp_path / "runs" / "small", sweep)
    write_tables(store, compute_tables(store, sweep))
    parts = parts_of(read_table(store, "groups"), read_table(store, "differences"))
    assert [part.step for part in parts] == [WIDTH.column] * 2 + [EPOCH.column] * 6
    track(store, sweep)
    client, runs = runs_of(tracking_uri(store), sweep)
    named = {run.info.run_name: run for run in runs}
    assert set(named) == {"small"} | {part.name for part in parts}
    for part in parts:
        logged = client.get_metric_history(named[part.name].info.run_id, "test_error")
        assert {(m.value, m.step) for m in logged} == {
            (value, step) for name, value, step in metrics_of(part) if name == "test_error"
        }


@pytest.mark.parametrize("failing", [1, 3])
def test_half_logged_runs_are_replaced(run, monkeypatch, failing):
    from mlflow import MlflowClient

    store, sweep = run
    batches = []

    def broken(self, run_id, *_args, **_kwargs):
        batches.append(run_id)
        if len(batches) == failing:
            raise OSError("connection lost")
        return log_batch(self, run_id, *_args, **_kwargs)

    log_batch = MlflowClient.log_batch
    monkeypatch.setattr(MlflowClient, "log_batch", broken)
    with pytest.raises(TrackingUnavailableError, match="connection lost"):
        track(store, sweep)
    assert not is_tracked(store)
    track(store, sweep)
    check_runs(store, sweep, tracking_uri(store))


def test_parts_whose_parent_is_gone_are_logged_again_under_the_new_one(run):
    store, sweep = run
    uri = tracking_uri(store)
    parent = track(store, sweep)
    runs_of(uri, sweep)[0].delete_run(parent)
    assert track(store, sweep) != parent
    check_runs(store, sweep, uri)


def test_the_same_path_on_another_machine_is_another_directory(run, tmp_path, monkeypatch):
    store, sweep = run
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    shutil.copytree(store.root, tmp_path / "elsewhere")
    first = track(store, sweep)
    shutil.rmtree(store.root)
    shutil.copytree(tmp_path / "elsewhere", store.root)
    second = track(store, sweep)
    _, runs = runs_of(tracking_uri(store), sweep)
    assert {first, second} < {run.info.run_id for run in runs}
    assert len(runs) == 18


def test_a_damaged_note_of_what_was_logged_is_none(run):
    store, sweep = run
    track(store, sweep)
    store.write("tracking.json", b"{")
    assert not is_tracked(store)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("sqlite:////home/me@work/runs/mlflow.db", "sqlite:////home/me@work/runs/mlflow.db"),
        ("https://mlflow.org:5000/team", "https://mlflow.org:5000/team"),
        ("https://user:to@k/en@mlflow.org/team", "https://***@mlflow.org/team"),
        ("https://token@mlflow.org", "https://***@mlflow.org"),
        ("postgresql+psycopg2://me:pa/s:s?@db:5432/x", "postgresql+psycopg2://me:***@db:5432/x"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("postgresql://:word@db/x", "postgresql://:***@db/x"),
        ("postgresql://db/x?user=me&password=word&sslmode=require", "postgresql://db/x?user=me&password=***&sslmode=require"),
        ("databricks", "databricks"),
    ],
)  # fmt: skip
def test_addresses_are_told_without_passwords(uri, told):
    assert without_password(uri) == told
    error = f"API request to {uri.rstrip('/')}/api failed"
    assert told_without_password(error, uri) == f"API request to {told}/api failed"


def test_a_run_on_an_object_store_is_tracked_in_the_present_directory(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Store("s3://bucket/run")) == f"sqlite:///{tmp_path}/mlflow.db"
