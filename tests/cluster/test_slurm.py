"""Sweeps in SLURM jobs: one that its time limit cuts ends with the same tables; one may be a cluster that waits."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from support.documents import ROOT
from support.slurm import is_installed, slurm_cluster
from support.whole_sweeps import SMALL, TABLES_ONLY

from dbviz_ray.sweep import main

pytestmark = [
    pytest.mark.nightly,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not is_installed(), reason="needs SLURM's daemons, and root to start them"),
]
SCRIPT = """
import sys, time, torch
seed, width, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
time.sleep(35)
torch.manual_seed(seed)
layers = [torch.nn.Flatten(), torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, 10)]
torch.save(torch.nn.Sequential(*layers).state_dict(), f"{out}/weights.pt")
"""
NETWORK = """
from torch import nn
def small(width, image_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes))
"""
SWEEP = {
    "dataset": {"name": "digits", "train_size": 300},
    "grid": {"architecture": ["slow_net:small"], "width": [4, 8, 16, 32], "label_noise": [0.2], "seed": [0, 1, 2]},
    "training": {"command": ["python", "train.py", "{seed}", "{width}", "{out}"], "epochs": 1},
    "planes": {"test": {"count": 6, "resolution": 25}},
}


@pytest.fixture
def submitted(tmp_path, monkeypatch) -> Iterator[Callable[..., str]]:
    """Submits slurm.sh with options of sbatch and words of a sweep to two nodes, where another Ray has its usual ports;
    gives the job's number."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    with slurm_cluster(tmp_path / "slurm", 2) as configuration, socket.socket() as client, socket.socket() as agent:
        for of_another_ray, port in ((client, 10001), (agent, 52365)):
            with suppress(OSError):  # unless another Ray has it already
                of_another_ray.bind(("", port))
        monkeypatch.setenv("SLURM_CONF", configuration)

        def submit(options: Sequence[str] = (), sweep: Sequence[str] = ()) -> str:
            job = ["sbatch", "--parsable", "--nodes=2", "--cpus-per-task=1", "--output=log", *options]
            return said([*job, str(ROOT / "docs" / "cluster" / "slurm.sh"), *sweep])

        yield submit
        said(["scancel", "--partition=main"])
        while said(["squeue", "--noheader"]):
            time.sleep(0.2)
        print(*(log.read_text() for log in tmp_path.glob("log")))


def said(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def is_queued(job: str) -> bool:
    states = "PENDING,RUNNING,COMPLETING,REQUEUED"
    return bool(said(["squeue", "--noheader", "--jobs", job, "--states", states]))


def test_a_job_that_is_cut_twice_ends_with_the_same_tables(submitted, tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "slow_net.py").write_text(NETWORK)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SWEEP))
    monkeypatch.syspath_prepend(tmp_path)
    sweep = ["mine.yaml", *TABLES_ONLY]
    job = submitted(["--time=3", "--signal=B:USR1@60"], [*sweep, "--out", str(tmp_path / "cut")])
    while is_queued(job):
        time.sleep(1)
    log = (tmp_path / "log").read_text()
    assert "ExitCode=0:0" in said(["scontrol", "show", "job", job]), log
    assert log.count("the job asks for its place in the queue again") >= 2, log
    (tmp_path / "train.py").write_text(SCRIPT.replace("sleep(35)", "sleep(0)"))
    assert main([*sweep, "--address", "none", "--out", str(tmp_path / "whole")]) == 0
    for table in ("groups", "pairs"):
        cut, whole = (next((tmp_path / run / "scores").glob(f"{table}.*")).read_bytes() for run in ("cut", "whole"))
        assert cut == whole, table


def test_a_job_whose_ray_does_not_start_ends(submitted, tmp_path):
    with socket.create_server(("127.0.0.1", 24001)):  # where the dashboard of job 1 would listen
        job = submitted()
        while is_queued(job):
            time.sleep(0.2)
    assert "ExitCode=1:0" in said(["scontrol", "show", "job", job])
    assert "already occupied" in (tmp_path / "log").read_text()


@pytest.mark.skipif(find_spec("aiohttp_cors") is None, reason="needs the extra cluster")
def test_a_job_without_a_sweep_waits_for_those_who_know_its_token(submitted, tmp_path, monkeypatch):
    job, log, ways = submitted(), tmp_path / "log", []
    while not ways:
        assert is_queued(job)
        time.sleep(0.2)
        ways = re.findall("8265:(127.0.0.1:[0-9]+)", log.read_text()) if log.exists() else []
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", f"http://{ways[0]}")
    sweep = ["ray", "job", "submit", "--", "python", "-m", "dbviz_ray.sweep", *SMALL, *TABLES_ONLY, "--out"]
    for mode, code, told in (("disabled", 1, "(?i)unauth|401"), ("token", 0, "succeeded")):
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
        end = subprocess.run([*sweep, str(tmp_path / "run")], capture_output=True, text=True)
        assert end.returncode == code, end.stderr
        assert re.search(told, end.stdout + end.stderr), end.stderr
        assert (tmp_path / "run" / "scores" / "groups.csv").exists() == (code == 0)
