"""A sweep in a SLURM job that its time limit cuts twice ends with the tables of an undisturbed one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.documents import ROOT
from support.slurm import is_installed, slurm_cluster

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


def test_a_job_that_is_cut_twice_ends_with_the_same_tables(tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text(SCRIPT)
    (tmp_path / "slow_net.py").write_text(NETWORK)
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(SWEEP))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    sweep = ["mine.yaml", "--stages", "train,evaluate,analyse"]
    with slurm_cluster(tmp_path / "slurm", 2) as environment:
        job = ["sbatch", "--parsable", "--nodes=2", "--cpus-per-task=1", "--time=3", "--signal=B:USR1@60"]
        job += [str(ROOT / "docs" / "cluster" / "slurm.sh"), *sweep, "--out", str(tmp_path / "cut")]
        number = subprocess.run(job, env=environment, check=True, capture_output=True, text=True).stdout.strip()
        asked = ["squeue", "--noheader", "--jobs", number, "--states", "PENDING,RUNNING,COMPLETING,REQUEUED"]
        while subprocess.run(asked, env=environment, capture_output=True, text=True).stdout.strip():
            time.sleep(1)
    log = (tmp_path / f"dbviz-ray-{number}.log").read_text()
    assert log.count("the job asks for its place in the queue again") >= 2, log
    (tmp_path / "train.py").write_text(SCRIPT.replace("sleep(35)", "sleep(0)"))
    assert main([*sweep, "--address", "none", "--out", str(tmp_path / "whole")]) == 0
    for table in ("groups", "pairs"):
        cut, whole = (next((tmp_path / run / "scores").glob(f"{table}.*")).read_bytes() for run in ("cut", "whole"))
        assert cut == whole, table
