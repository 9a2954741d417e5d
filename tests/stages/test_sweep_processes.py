"""Whole sweeps in processes of their own: Ray, MLflow, kills, and disks that are full or cannot be written."""

import errno
import ipaddress
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from ray.thirdparty_files import psutil
from support.dataset_files import write_cifar10
from support.documents import ROOT, commands
from support.whole_sweeps import SMALL, TABLES_ONLY, run, started, tables, wait_for

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.cluster.session import running_cluster
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import state_of
from dbviz_ray.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_sweep_runs_through_all_stages_and_does_nothing_once_it_is_finished(undisturbed):
    directory, output, messages = undisturbed
    assert messages.isascii()
    last = {line.split()[0]: line for line in messages.splitlines()}
    waited_for = {"sweep", "ray"}  # by a slow machine
    assert [name for name in last if name not in waited_for] == ["train", "evaluate", "analyse", "report"]
    assert re.fullmatch(r"train    9 models in [\d.]+ s, [\d.,]+ epochs/s", last["train"])
    assert re.fullmatch(r"evaluate 9 models in [\d.]+ s, [\d.,]+ points/s", last["evaluate"])
    assert len(messages.splitlines()) < 20
    assert "9 models: 9 done" in output
    drawn = {"double_descent", "decision_regions", "disagreement", "contested_images", "plane_sets", "margins"}
    assert {f"{name}.{suffix}" for name in drawn for suffix in ("png", "pdf")} == set(os.listdir(directory / "figures"))
    assert (directory.parent / "mlflow.db").exists()
    assert len(list(directory.glob("models/*/model.json"))) == 9
    assert not list(directory.glob("cohorts/*")), "training states go when their cohort is complete"
    assert not list(directory.rglob(".*.tmp"))
    frame = pd.read_csv(directory / "scores" / "groups.csv")
    assert frame["n_models"].tolist() == [3] * 6  # three widths on two plane sets
    before = {path: path.stat().st_mtime_ns for path in directory.rglob("*")}
    again = run(directory, *SMALL)
    assert "9 models: 9 done" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in directory.rglob("*")} == before


def test_one_process_without_ray_interrupted_and_killed_ends_with_the_same_tables(undisturbed, tmp_path):
    directory, computed = tmp_path / "alone", ["--stages", "train,evaluate"]
    ends = {"cohorts/*/*": signal.SIGINT, "models/*/model.json": signal.SIGKILL, "labels/*": signal.SIGINT}
    for pattern, end in ends.items():
        said = ended_at_first(pattern, directory, end, *SMALL, *computed, address="none")
    assert said.count("dbviz-ray sweep: interrupted; the same command continues") == 2
    run(directory, *SMALL, *computed, address="none")
    run(directory, *SMALL, *TABLES_ONLY)
    assert tables(directory) == tables(undisturbed[0])


def test_a_sweep_killed_while_it_analyses_and_reports_ends_with_the_same_tables(undisturbed, tmp_path):
    """Within so many seconds of a file of the stage; other tests kill the other stages."""
    directory = shutil.copytree(undisturbed[0], tmp_path / "killed")
    for made in ("scores", "figures"):
        shutil.rmtree(directory / made)
    generator = random.Random(1)
    for stage, pattern, within in (("analyse", "scores/*.csv", 0.05), ("report", "figures/*.png", 1.5)):
        process = started(directory, *SMALL)
        wait_for(pattern, directory, process)
        time.sleep(generator.uniform(0, within))
        assert process.poll() is None, f"the command ended before it was killed in {stage}"
        process.send_signal(signal.SIGKILL)
        process.wait()
    run(directory, *SMALL)
    assert tables(directory) == tables(undisturbed[0])


def test_double_descent_of_the_digits(tmp_path):
    """The shapes of the paper's Section 5 on three seeds, fewer widths and fewer planes."""
    directory = tmp_path / "digits"
    run(
        directory, "double_descent_digits", "grid.width=[4,8,12,32,256]", "grid.seed=[0,1,2]",
        "planes={test: {count: 60, resolution: 30}}", "margins=null", *TABLES_ONLY, address="none",
    )  # fmt: skip
    frame = pd.read_csv(directory / "scores" / "groups.csv")
    noisy = frame[frame["label_noise"] == 0.2].set_index("width")
    clean = frame[frame["label_noise"] == 0.0].set_index("width")
    error = noisy["test_error"]
    assert error[[4, 8, 12]].min() < error[32] - 0.05
    assert error[8] < error[4]
    assert error.drop(4).idxmax() == 32
    assert error[256] < 2 / 3 * error[32]
    assert noisy["train_error"][12] > 0.15
    assert noisy["train_error"][256] < 0.03
    assert noisy["fragmentation"].idxmax() == 32
    assert noisy["reproducibility"].drop(4).idxmin() == 32
    assert clean["test_error"].diff().dropna().max() < 0.02, "no peak without noise"
    assert clean["reproducibility"][256] > 0.9


REHEARSAL = next(words for words in commands(ROOT / "docs" / "cluster.md") if "runs/rehearsal" in words)
"""Two epochs of every width of the paper's sweep on a CPU, as documented."""


@pytest.mark.nightly
@pytest.mark.timeout(1800)
def test_the_rehearsal_of_the_papers_sweep_is_killed_twice_and_has_all_tables_and_figures(tmp_path):
    write_cifar10(tmp_path / "data", images_per_file=64)
    words = [word for word in shlex.split(REHEARSAL)[3:] if word not in ("--out", "runs/rehearsal")]
    directory = tmp_path / "rehearsal"
    words += ["grid.label_noise=[0.2]", f"resources.data_directory={tmp_path / 'data'}"]  # half of its models
    for pattern in ("models/*/model.json", "labels/*/*/*"):
        ended_at_first(pattern, directory, signal.SIGKILL, *words)
    run(directory, *words)
    sweep = load_sweep(words[0], words[1:])
    frame = pd.read_csv(directory / "scores" / "groups.csv")
    assert set(frame["width"]) == {*range(1, 21), 30, 40, 50, 60, 64}
    assert (set(frame["n_models"]), set(frame["plane_set"])) == ({3}, sweep.planes.keys())
    assert {path.stem for path in (directory / "figures").iterdir()} == figures_of(sweep).keys()


def test_the_papers_sweep_in_miniature(tmp_path):
    write_cifar10(tmp_path / "data")
    directory = tmp_path / "cifar"
    run(
        directory, "double_descent", "grid.width=[2]", "grid.label_noise=[0.2]", "training.epochs=1",
        f"resources.data_directory={tmp_path / 'data'}", "resources.gpus_per_cohort=0",
        "resources.cpus_per_cohort=1", "resources.gpus_per_evaluator=0",
        "planes={test: {count: 4, resolution: 6}, attack: {off_manifold: adversarial, count: 4, resolution: 6}}",
        "margins={images: 20, directions: 2}", *TABLES_ONLY,
    )  # fmt: skip
    frame = pd.read_csv(directory / "scores" / "groups.csv")
    assert set(frame["plane_set"]) == {"test", "attack"}
    frame = frame[frame["plane_set"] == "test"]
    assert frame["width"].tolist() == [2]
    assert frame["n_train_images"].unique().tolist() == [300]
    assert frame["reproducibility_interval_covers"].unique().tolist() == ["models and planes"]


OWN_CODE = """
import sys
import weakref
import analysis
import torch
import sweeps
from torch import nn

def linear(width, image_shape, classes):
    channels, height, side = image_shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * side, classes))

class Untrainable(nn.Module):
    def forward(self, x):
        if self.training and len(x) > 10:
            raise RuntimeError("I will not be trained")
        return x

def untrainable(width, image_shape, classes):
    return nn.Sequential(linear(width, image_shape, classes), Untrainable() if width == 2 else nn.Identity())

there = weakref.WeakSet()

def large(width, image_shape, classes):
    network = linear(width, image_shape, classes)
    there.add(network)
    if len(there) > 5 and not sys.argv[0].endswith("sweep.py"):  # the command's own machine has more memory
        raise torch.OutOfMemoryError("the device holds five such networks")
    return network
"""
OWN_SWEEP = """
dataset: {name: digits, train_size: 200, test_size: 100}
cases:
  - {architecture: [my_networks:untrainable], width: [1, 2], seed: [0, 1]}
  - {architecture: [my_networks:large], width: [1], seed: [0, 1, 2, 3, 4]}
  - {architecture: [fully_connected], width: [4], seed: [0, 1]}
training: {epochs: 3, batch_size: 64}
planes: {test: {count: 3, resolution: 5}}
margins: {images: 10}
resources: {evaluators: 5}  # more than there is room for
"""


def test_own_networks_one_kind_fails_few_of_another_fit_and_others_are_taken_over(finished_run, tmp_path, monkeypatch):
    """Beside modules of the user called analysis and sweeps, which anybody else would import in vain."""
    (tmp_path / "my_networks.py").write_text(OWN_CODE)
    for name in ("analysis.py", "sweeps.py"):
        (tmp_path / name).write_text("import sys\nassert 'my_networks' in sys.modules, 'imported by somebody else'\n")
    (tmp_path / "own.yaml").write_text(OWN_SWEEP)
    directory = tmp_path / "run"
    sweep = str(tmp_path / "own.yaml"), f"resources.reuse=[{finished_run[0].root}]"
    result = run(directory, *sweep, code=1)
    assert "2 models are taken over" in result.stderr
    assert "RuntimeError: I will not be trained" in result.stderr
    assert "11 models: 9 done, 2 failed" in result.stdout
    assert re.search(r"^train    7 models in .* epochs/s, 2 failed$", result.stderr, re.MULTILINE), "each once"
    assert (directory / "figures" / "reproducibility_matrix.png").exists(), "the rest of the sweep is finished"
    groups = pd.read_csv(directory / "scores" / "groups.csv")
    groups = groups[groups["architecture"] == "my_networks:untrainable"].set_index("width")
    assert groups["n_models"].to_dict() == {1: 2, 2: 0}
    assert groups["n_failed"].to_dict() == {1: 0, 2: 2}
    assert "-x5-" in next(line for line in result.stderr.splitlines() if "is halved" in line)
    of = {path.parent.name: json.loads(path.read_text()) for path in directory.glob("models/*/model.json")}
    cohorts = Counter(facts["cohort_id"] for name, facts in of.items() if "large" in name)
    assert sorted(cohorts.values()) == [2, 3]
    monkeypatch.syspath_prepend(tmp_path)
    again = state_of(load_sweep(sweep[0], sweep[1:]), Store(directory), Options())
    assert len(again.untrained) == 2, "the same command tries them again"


RECIPES = """
dataset: {name: digits, train_size: 300, test_size: 200}
grid: {architecture: [fully_connected], width: [16], seed: [0, 1, 2]}
cases:
  - recipes:
      plain: {}
      sharpness_aware: {sam_radius: 0.05}
      distilled: {distillation: {recipe: plain}}
      mixed: {mixing: mixup, augmentation: crop_flip, schedule: cosine}
  - recipes: {descent: {optimizer: sgd, momentum: 0.9}}
    learning_rate: [0.05, 1.0e+30]
training: {epochs: 20, batch_size: 64, snapshots: [2, 10]}
planes: {test: {count: 10, resolution: 12}}
resources: {stack: 3, checkpoint_seconds: 0}
"""


def assert_listens_on_loopback_alone(process: subprocess.Popen[bytes]) -> None:
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    sockets = [socket for one in family for socket in one.net_connections()]
    found = [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
    assert len(found) >= 3, "Ray's control store, raylet and workers listen somewhere"
    for place in found:
        address = ipaddress.ip_address(place.ip)
        assert (getattr(address, "ipv4_mapped", None) or address).is_loopback, place
    assert (running_cluster() or ":").rpartition(":")[2] not in {str(place.port) for place in found}, "joinable"


def ended_at_first(pattern: str, directory: Path, end: signal.Signals, *words: str, address: str = "local") -> str:
    """Start a sweep, end its command once a file like `pattern` is there, and return what it said so far."""
    process = started(directory, *words, address=address)
    wait_for(pattern, directory, process)
    if end == signal.SIGTERM:
        assert_listens_on_loopback_alone(process)
        second = run(directory, *words, code=2)
        assert f"process {process.pid}" in second.stderr, "one driver at a time, and the message names it"
    process.send_signal(end)
    assert process.wait(120) == (-end if end == signal.SIGKILL else 128 + end)
    said = Path(f"{directory}.log").read_text()
    assert "Traceback" not in said
    return said


def test_recipes_teachers_snapshots_and_diverged_models(tmp_path):
    """A sweep that was interrupted among its teachers, and went on without Ray."""
    directory, file = tmp_path / "run", tmp_path / "recipes.yaml"
    file.write_text(RECIPES)
    said = ended_at_first("models/*/snapshots/*/weights.safetensors", directory, signal.SIGTERM, str(file))
    assert said.count("dbviz-ray sweep: interrupted; the same command continues") == 1
    run(directory, str(file), address="none")
    outcomes = pd.read_csv(directory / "scores" / "outcomes.csv")
    reasons = outcomes[outcomes["outcome"] == "diverged"]["reason"]
    assert reasons.str.contains(" epoch 1 ").tolist() == [True] * 3, "when a loss was no number any more"
    groups = pd.read_csv(directory / "scores" / "groups.csv")
    last = groups[groups["epoch"] == 20].set_index(["recipe", "learning_rate"])
    assert sorted(groups["epoch"].unique()) == [2, 10, 20]
    assert last["n_models"].to_dict() == {
        ("plain", 0.01): 3, ("sharpness_aware", 0.01): 3, ("distilled", 0.01): 3, ("mixed", 0.01): 3,
        ("descent", 0.05): 3, ("descent", 1e30): 0,
    }  # fmt: skip
    assert last["n_diverged"][("descent", 1e30)] == 3
    assert (last["reproducibility"].drop(("descent", 1e30)) > 0.3).all()
    models = pd.read_csv(directory / "scores" / "models.csv")
    students = models[(models["recipe"] == "distilled") & (models["epoch"] == 20)]
    assert set(students["teacher"]) == set(models[models["recipe"] == "plain"]["model_id"])
    drawn = {"epochs", "learning_rates", "reproducibility_matrix", "by_recipe", "recipe_table", "disagreement"}
    drawn |= {"architectures", "decision_regions", "contested_images", "training"}
    files = {f"{name}.{suffix}" for name in drawn for suffix in ("png", "pdf")} | {"training.gif", "recipe_table.tex"}
    assert files == set(os.listdir(directory / "figures"))


SIZE, LEFT = 4 * 2**20, 40 * 2**10


@pytest.fixture
def disk(tmp_path):
    """A file system of `SIZE` bytes in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.nightly
def test_a_full_disk_ends_the_sweep_and_room_on_it_continues_it(undisturbed, disk):
    directory = disk / "run"
    filler = disk / "filler"
    filler.write_bytes(b"\0" * (SIZE - LEFT))
    result = run(directory, *SMALL, code=1, database=False)
    assert os.strerror(errno.ENOSPC) in result.stderr
    assert not (directory / "scores").exists()
    complete = [path.parent for path in directory.glob("models/*/model.json")]
    kept = {path: path.stat().st_mtime_ns for folder in complete for path in folder.rglob("*") if path.is_file()}
    filler.unlink()
    run(directory, *SMALL, *TABLES_ONLY, database=False)
    assert tables(directory) == tables(undisturbed[0])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, "what was complete is not made again"
