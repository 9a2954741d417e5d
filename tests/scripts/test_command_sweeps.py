"""A sweep whose models a command of the user's trains: tables and resumption as of our own training."""

import json
import sys

import pandas as pd
import pytest
import torch
import yaml
from support.refusals import refused

from dbviz_ray.config import SweepConfig
from dbviz_ray.config.validation import validated
from dbviz_ray.sweep import main

SCRIPT = """
import sys
import numpy as np
import torch
from torch import nn
seed, width, rate, data, out = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4], sys.argv[5]
assert width < 100, "too wide for this script"
file = np.load(data)
images, labels = torch.tensor(file["train_images"]).flatten(1) / 16 - 0.3, torch.tensor(file["train_labels"])
torch.manual_seed(seed)
network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
optimizer = torch.optim.Adam(network.parameters(), rate)
for epoch in range(20):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
    torch.save({"epoch": epoch, "model": {f"net.1.{name}": value for name, value in network.state_dict().items()}},
               f"{out}/epoch-{epoch}.pt")
"""
NETWORK = """
from torch import nn
class Net(nn.Module):
    def __init__(self, width, image_shape, classes):
        super().__init__()
        inner = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, classes))
        self.net = nn.Sequential(nn.Flatten(), inner)
    def forward(self, images):
        return self.net(images)
"""
SWEEP = {
    "dataset": {"name": "digits", "train_size": 300},
    "grid": {"architecture": ["own_net:Net"], "width": [4, 16], "label_noise": [0.2], "seed": [0, 1]},
    "training": {
        "command": [sys.executable, "train.py", "{seed}", "{width}", "{learning_rate}", "{data}", "{out}"],
        "epochs": 20,
        "learning_rate": 0.02,
    },
    "planes": {"test": {"count": 6, "resolution": 25}},
}


@pytest.fixture
def here(here, monkeypatch):
    monkeypatch.syspath_prepend(here)
    (here / "train.py").write_text(SCRIPT)
    (here / "own_net.py").write_text(NETWORK)
    (here / "mine.yaml").write_text(yaml.safe_dump(SWEEP))
    return here


def test_a_sweep_of_a_command_has_the_tables_of_any_sweep(here, capsys):
    assert main(["mine.yaml", "--address", "none", "--stages", "train,evaluate,analyse"]) == 0
    run = here / "runs" / "mine"
    models = pd.read_csv(run / "scores" / "models.csv")
    assert len(models) == 4
    assert models["train_error"].between(0, 0.8).all()
    for model_id, width in zip(models["model_id"], models["width"], strict=True):
        made = run / "commands" / model_id / "training"
        stored = torch.load(made / "out" / "epoch-19.pt")["model"]
        assert stored["net.1.0.weight"].shape == (width, 64)
        facts = json.loads((run / "models" / model_id / "model.json").read_text())
        assert (facts["outcome"], facts["stack"]) == ("done", 0)
    groups = pd.read_csv(run / "scores" / "groups.csv")
    assert groups["reproducibility"].between(0.1, 1).all()
    before = {path: path.stat().st_mtime_ns for path in run.glob("commands/*/training/outcome.json")}
    assert main(["mine.yaml", "--address", "none", "--stages", "train", "grid.seed=[0,1,2]"]) == 0
    assert len(list(run.glob("commands/*"))) == 6
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_a_command_that_fails_fails_its_model_alone(here, capsys):
    assert main(["mine.yaml", "grid.width=[4,200]", "--address", "local", "--stages", "train"]) == 1
    told = capsys.readouterr().err
    assert "its command ended with exit code 1: AssertionError: too wide for this script" in told
    assert len(list((here / "runs" / "mine").glob("models/*/model.json"))) == 2


def test_commands_and_our_own_training_exclude_each_other():
    def sweep(**training):
        return validated(SweepConfig, SWEEP | {"name": "mine", "training": SWEEP["training"] | training})

    assert sweep().models()[0].model_id != sweep(weights="*.bin").models()[0].model_id
    assert len(sweep().cohorts()) == 4
    assert refused(sweep, snapshots=[1]).field == "training.snapshots"
    assert refused(sweep, command=None, weights="*.bin").field == "training.weights"
    assert refused(sweep, command=[]).field == "training.command"
