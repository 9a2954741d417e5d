"""What runs say, and MLflow for real, in an sqlite file; test_tracking_server.py has the servers."""

import math
import shutil
import socket
import sqlite3
import threading
import time
from contextlib import suppress

import pytest
from conftest import small_sweep
from mlflow import MlflowClient
from support.made_up_runs import analysed, let_fail, made_up_run
from support.tracked_runs import below, check_runs, history, runs_of
from support.whole_sweeps import empty_database

from dbviz_ray.analysis import tracking
from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.tables import read_table, write_tables
from dbviz_ray.analysis.tracking import TrackingUnavailableError, contents, is_tracked, track, tracking_uri
from dbviz_ray.config.addresses import told_without_password, without_password
from dbviz_ray.store import Store


@pytest.fixture(autouse=True)
def beside_an_empty_database(tmp_path, monkeypatch):
    """No tracking URI is in the environment."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "runs").mkdir()
    empty_database(tmp_path / "runs")


def test_results_are_logged_once_in_sqlite_beside_the_run_directory(copied_run, tmp_path, monkeypatch):
    store, sweep = copied_run
    uri = tracking_uri(store)
    assert uri == f"sqlite:///{tmp_path}/runs/mlflow.db"
    assert not is_tracked(store)
    first = track(store, sweep)
    check_runs(store, sweep, uri)
    assert is_tracked(store)
    assert track(store, sweep) == first, "logging the same results again changes nothing"
    check_runs(store, sweep, uri)
    groups = read_table(store, "groups")
    write_tables(store, {"groups": groups.assign(test_error=groups["test_error"] / 2)})
    assert not is_tracked(store)
    parent = track(store, sweep)
    assert parent != first, "other results replace the runs"
    check_runs(store, sweep, uri)
    runs_of(uri, sweep)[0].delete_run(parent)
    assert track(store, sweep) != parent, "whose parent is gone are logged again under a new one"
    check_runs(store, sweep, uri)
    store.write("tracking.json", b"{")
    assert not is_tracked(store)
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Store("s3://bucket/run")) == f"sqlite:///{tmp_path}/mlflow.db", "in the present directory"


def test_another_process_logs_while_figures_are_drawn_and_files_once_they_are_stored(copied_run, tmp_path):
    store, sweep = copied_run
    database, ended = tmp_path / "runs" / "mlflow.db", "select count(*) from runs where status = 'FINISHED'"
    database.unlink()
    with tracking.TrackingBeside(store) as beside:
        beside.analysed()
        while not database.exists() or sqlite3.connect(database).execute(ended).fetchone() != (4 + 12,):
            time.sleep(0.2)
        store.write("report.html", b"drawn later")
        beside.drawn()
    assert is_tracked(store)
    check_runs(store, sweep, tracking_uri(store))
    with tracking.TrackingBeside(store):
        store.remove("tracking.json")
    assert not is_tracked(store), "the block did not wait"


def test_a_server_that_sends_a_byte_now_and_then_does_not_hold_the_command(copied_run, monkeypatch):
    store, _ = copied_run
    monkeypatch.setattr(tracking.beside, "SILENCE", 8.0)  # MLflow's import takes some
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while True:
                    connection.sendall(b"X")
                    time.sleep(0.2)

        threading.Thread(target=drip, daemon=True).start()
        with tracking.TrackingBeside(store) as beside:
            beside.analysed()
            with pytest.raises(TrackingUnavailableError, match="no progress for 8 s"):
                beside.drawn()
    assert not is_tracked(store)


def test_a_sweep_of_curves_is_a_run_a_curve(tmp_path):
    training = {"epochs": 3, "batch_size": 64, "snapshots": [1, 2]}
    recipes = {"plain": {}, "SGD+SAM": {"optimizer": "sgd", "sam_radius": 0.05}}
    sweep = small_sweep(grid={"width": [2, 4, 8], "recipes": recipes, "seed": [0, 1]}, training=training)
    store = analysed(made_up_run(tmp_path / "runs" / "small", sweep), sweep)
    track(store, sweep)
    client, runs = runs_of(tracking_uri(store), sweep)
    [top] = [run for run in runs if run.info.run_name == "small"]
    over_width, over_epochs = below(top, runs)[:2], below(top, runs)[2:]
    assert [run.info.run_name for run in over_width] == ["plain", "SGD+SAM"]
    assert len(over_epochs) == 6
    assert not any(below(run, runs) for run in over_epochs), "a model has one place"
    groups = read_table(store, "groups").set_index(["recipe", "width", "epoch"])["test_error"].sort_index()
    for run in over_width:
        recipe = run.data.params["recipe"]
        expected = {width: pytest.approx(groups[recipe, width, 3]) for width in (2, 4, 8)}
        assert history(client, run, "errors over width/test_error") == expected
        assert {run.data.params[name] for name in ("width", "n_models")} == {"2 to 8", "6"}
        assert len(below(run, runs)) == 6
    for run in over_epochs:
        recipe, width = run.data.params["recipe"], int(run.data.params["width"])
        expected = {epoch: pytest.approx(groups[recipe, width, epoch]) for epoch in (1, 2, 3)}
        assert history(client, run, "errors over epochs/test_error") == expected


@pytest.mark.parametrize("failing", [1, 9])
def test_half_logged_runs_are_replaced(copied_run, monkeypatch, failing):
    store, sweep = copied_run
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


def test_the_same_path_on_another_machine_is_another_directory(copied_run, tmp_path, monkeypatch):
    store, sweep = copied_run
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/runs/mlflow.db")
    shutil.copytree(store.root, tmp_path / "elsewhere")
    first = track(store, sweep)
    shutil.rmtree(store.root)
    shutil.copytree(tmp_path / "elsewhere", store.root)
    second = track(store, sweep)
    _, runs = runs_of(tracking_uri(store), sweep)
    assert {first, second} < {run.info.run_id for run in runs}
    assert len(runs) == 2 * 17


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
    ],
)  # fmt: skip
def test_addresses_are_told_without_passwords(uri, told):
    assert without_password(uri) == told
    error = f"API request to {uri.rstrip('/')}/api failed"
    assert told_without_password(error, uri) == f"API request to {told}/api failed"


def test_models_that_were_lost_are_marked_say_why_and_are_logged_once(tmp_path, monkeypatch):
    """A curve over three widths; of the widest no model is left, one of 8 failed, and one of the narrowest diverged.

    What is not finite is no metric.
    """
    sweep = small_sweep(grid={"width": [2, 4, 8, 16], "seed": [0, 1, 2], "label_noise_seed": [0]})
    store = made_up_run(tmp_path / "runs" / "small", sweep, lambda model: model.width == 2 and model.seeds.init == 0)
    let_fail(store, sweep, lambda model: "train" * (model.width == 16 or (model.width, model.seeds.init) == (8, 2)))
    first = track(analysed(store, sweep), sweep)
    assert track(store, sweep) == first
    _, runs = runs_of(tracking_uri(store), sweep)
    assert sorted(found.info.status for found in runs) == ["FAILED"] * 5 + ["FINISHED"] * 9
    [sweep_run, curve, *models] = contents.runs_of(store, sweep)
    named = {model.title: model for model in models}
    assert [model.failed for model in models] == [True] + 7 * [False] + 4 * [True]
    assert "epoch 2" in named["width 2, seed 0"].description
    assert "RuntimeError: made up" in named["width 16, seed 1"].description
    assert {model.parent for model in models if "width 16" not in model.title} == {curve.name}
    assert {model.parent for model in models if "width 16" in model.title} == {contents.SWEEP}, "it lies on no curve"
    assert curve.params.items() >= {"width": "2 to 8", "n_models": 7, "n_diverged": 1, "n_failed": 1}.items()
    assert sweep_run.params["models"] == 12
    groups = read_table(store, "groups")
    assert groups["margin"].isna().all()
    groups.loc[groups["width"] == 4, "sharpness"] = math.inf
    groups.loc[groups["width"] == 8, "sharpness"] = 3.0
    write_tables(store, {"groups": groups})
    logged = contents.runs_of(store, sweep)[1].metrics
    assert all(math.isfinite(value) for _, value, _ in logged)
    assert ("sharpness over width/sharpness", 3.0, 8) in logged
    assert {step for name, _, step in logged if name == "errors over width/test_error"} == {2, 4, 8}
    assert not [name for name, _, _ in logged if "margin" in name]
    monkeypatch.setattr(contents, "MAX_MODELS", 11)
    assert len(contents.runs_of(store, sweep)) == 2, "many models have no runs"


def test_every_score_stands_in_one_section():
    assert sorted(score for scores in contents.SECTIONS.values() for score in scores) == sorted(SCORES)
