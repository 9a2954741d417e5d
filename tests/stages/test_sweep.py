"""The command itself, without Ray: arguments, plans, exit codes."""

import re
import socket

import numpy as np
import pytest
from conftest import small_sweep
from support.made_up_runs import made_up_run
from support.refusals import refused
from support.whole_sweeps import empty_database

from dbviz_ray.cluster.session import ray_session
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.errors import StageFailedError
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import run_sweep, state_of
from dbviz_ray.store.layout import FINDINGS_FILE
from dbviz_ray.sweep import main

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["double_descent_digit"], "sweep: 'double_descent_digit' is unknown; did you mean double_descent_digits"),
        (["dataset.train_size=1800"], "dataset.train_size: 1800"),
        (["--stages", "train,eat"], "--stages: 'eat' "),
        (["--stage", "train", "--plam"], "--plam: unknown option; did you mean --plan"),
        (["no/such/file.yaml"], "no/such/file.yaml: "),
        (["--out", "/proc/nothing"], "--out: /proc/nothing cannot be written ("),
    ],
)
def test_bad_input_is_one_line_exit_code_two_and_no_trace(arguments, message, capsys, tmp_path):
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err
    assert output.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_address_where_nothing_is_costs_no_minutes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    mistake = refused(ray_session(address, ResourcesConfig(), verbose=False).__enter__)
    assert mistake.field == "--address"
    assert address in mistake.reason


def test_data_that_cannot_be_downloaded_are_named_before_any_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", lambda *_a, **_k: (_ for _ in ()).throw(OSError("no network")))
    assert main(["double_descent", f"resources.data_directory={tmp_path / 'data'}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "cifar-10-python.tar.gz" in line
    assert not (tmp_path / "runs").exists()


def test_the_plan_follows_overrides_and_leaves_no_file(capsys, tmp_path):
    assert main(["grid.width=[2,4]", "grid.seed=[0,1,2]", "planes={test: {count: 10, resolution: 5}}", "--plan"]) == 0
    output = capsys.readouterr().out
    assert main(["double_descent_digits", "--plan", "grid.width=[2]"]) == 0, "options may stand between the words"
    assert "12 in 2 cohorts" in output
    assert "3,000 grid points" in output
    assert f"{6 * (160 + 310):,} in all; 160 to 310 a model" in output
    assert list(tmp_path.iterdir()) == []


def test_analyse_and_report_need_what_comes_before(capsys):
    assert main(["--stages", "analyse"]) == 1
    assert re.search(r"\b104\b.*\b624\b", capsys.readouterr().err), "trainings and tasks of evaluate"
    assert main(["--stages", "report"]) == 1
    assert " analyse " in capsys.readouterr().err


def test_a_sweep_in_which_every_model_diverges_says_so(tmp_path, sweep, capsys):
    store = made_up_run(tmp_path / "run", sweep, diverged=lambda model: True)
    for model in sweep.models():
        store.write_label_maps("test", model.model_id, model.training.epochs, np.zeros((6, 12, 12), np.uint8))
    with pytest.raises(StageFailedError, match="12"):
        run_sweep(sweep, store, Options(("analyse",)))
    assert "12 models: 12 diverged" in capsys.readouterr().out


def test_what_was_drawn_while_mlflow_was_away_is_only_logged_later(tmp_path, monkeypatch, capsys):
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]})
    store = made_up_run(tmp_path / "run", sweep)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    run_sweep(sweep, store, Options())
    drawn = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert not state_of(sweep, store, Options()).reported
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert "http://127.0.0.1:1: " in capsys.readouterr().err
    empty_database(tmp_path)
    run_sweep(sweep, store, Options(precision=0.1))
    assert {path: path.stat().st_mtime_ns for path in drawn} == drawn
    assert state_of(sweep, store, Options()).reported
    printed = capsys.readouterr().out
    run_sweep(sweep, store, Options(precision=0.1))
    assert printed.rpartition("\n\n")[0] in capsys.readouterr().out, "a finished sweep says the same"
    store.write(FINDINGS_FILE, store.read(FINDINGS_FILE)[:10])
    run_sweep(sweep, store, Options(precision=0.1))
    assert FINDINGS_FILE in capsys.readouterr().err
    assert state_of(sweep, store, Options()).reported, "damaged findings are made again"
    made_up_run(tmp_path / "run", sweep, error=lambda model, epoch: 0.9)
    run_sweep(sweep, store, Options(("analyse",)))
    run_sweep(sweep, store, Options())
    assert min(path.stat().st_mtime_ns - before for path, before in drawn.items()) > 0, "as the tables changed"
