"""Files of a run are damaged, its processes killed and frozen, on a disk and in an object store: the tables stay.

After each fault the same command runs in this process. It ends with the tables of an undisturbed run, byte for byte,
or with one line that says why not. A short form runs each night. The whole takes an hour; how its faults ended:

    FLIPS=20 pytest -m nightly tests/stages/test_faults.py -rP | grep '^|'

Ray nodes, trial workers, evaluators and the command itself are killed at random moments, too; a node that was killed is
replaced, as an autoscaler would, and the command is started again whenever it dies. Every model is trained once, and
every row is there once. Sweeps that take longer, and so meet kills at more moments, for as many as it takes:

    KILLS=30 pytest -m nightly tests/stages/test_faults.py -k many_kills
"""

import io
import os
import random
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest
from pyarrow import fs
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.cluster_utils import Cluster
from ray.thirdparty_files import psutil
from support.whole_sweeps import SMALL, TABLES_ONLY, command, empty_database, run, started, tables

from dbviz_ray.store.directory import Directory
from dbviz_ray.sweep import main

pytest_plugins = ["support.object_store"]
pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(3600)]

FLIPS = int(os.environ.get("FLIPS", "1"))
FAST = [*SMALL, "training.epochs=8", "training.snapshots=[4]"]
AFTER_TRAINING = ["labels", "probabilities", "margins", "pictures"]
AFTER_EVALUATION = ["scores", "digests", "figures", "report.html"]
FILES = {
    "model.json": ("models/*/model.json", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "weights": ("models/*/weights.safetensors", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "snapshots": ("models/*/snapshots/*/weights.safetensors", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "predictions": ("models/*/predictions.parquet", AFTER_EVALUATION),
    "history": ("models/*/history.parquet", AFTER_EVALUATION),
    "planes": ("planes/test.parquet", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "labels": ("labels/*/*/*/*.parquet", AFTER_EVALUATION),
    "probabilities": ("probabilities/*/*/*/*.parquet", AFTER_EVALUATION),
    "margins": ("margins/*/*/*.parquet", AFTER_EVALUATION),
    "sweep.yaml": ("sweep.yaml", AFTER_EVALUATION),
    "tables": ("scores/*.csv", []),
    "tables in Parquet": ("scores/*.parquet", []),
    "findings": ("scores/findings.json", []),
    "digests": ("digests/*.json", []),
    "figures": ("figures/*.png", []),
    "report": ("report.html", []),
    "tracking.json": ("tracking.json", []),
}
"""Of each kind: the files, and what is deleted so that the next command reads them."""
PROCESSES = {
    "raylet": ("raylet/raylet", ["train", "evaluate"]),
    "GCS": ("gcs_server", ["train", "evaluate"]),
    "trial worker": ("ray::ImplicitFunc", ["train"]),
    "evaluator": ("ray::Evaluator", ["evaluate"]),
    "driver": ("", ["train", "evaluate", "analyse", "report"]),
}
"""What its command line holds, and the stages in which there is one."""
STAGES = {"train": ("cohorts", ""), "evaluate": ("labels", ""), "analyse": ("scores", ""), "report": ("figures", "png")}
"""Folder and ending of the first files of each stage."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run, and one of the same models that were trained for fewer epochs."""
    undisturbed, other = (tmp_path_factory.mktemp(name) / "run" for name in ("undisturbed", "other"))
    run(undisturbed, *FAST)
    run(other, *FAST, "training.epochs=6")
    return undisturbed, other


@pytest.fixture(autouse=True)
def beside_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's database of a run in an object store lies in the present folder."""
    monkeypatch.chdir(tmp_path)
    empty_database(tmp_path)


def damaged(fault: str, content: bytes, older: bytes, generator: np.random.Generator) -> bytes:
    place, bit = int(generator.integers(len(content))), 1 << int(generator.integers(8))
    flipped = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    return {"flipped bit": flipped, "cut": content[: len(content) // 2], "empty": b"", "older": older}[fault]


def tables_in(directory: Directory) -> dict[str, bytes]:
    return {name: directory.read(name) for name in directory.files("scores")}


def end_of(directory: Directory, expected: dict[str, bytes], words: Sequence[str]) -> str:
    """Whether the tables are those expected after a command in this process; otherwise the line that says why not."""
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        code = main([*words, "--out", directory.root, "--address", "none"])
    assert "Traceback" not in told.getvalue()
    if code:
        line = told.getvalue().strip().splitlines()[-1]
        assert (code in (1, 2), line.startswith("dbviz-ray")) == (True, True), told.getvalue()
        return f"exit code {code}: {line}"
    found = tables_in(directory)
    differing = [name for name in expected | found if found.get(name) != expected.get(name)]
    return f"DIFFERENT: {', '.join(differing)}" if differing else "equal"


def told(directory: Directory, kind: str, ends: Counter[tuple[str, str]]) -> None:
    for (fault, end), number in sorted(ends.items()):
        print(f"| {'disk' if directory.is_local else 'object store'} | {kind} | {fault} | {number} | {end} |")
    assert not [end for _, end in ends if "DIFFERENT" in end]


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_made_again_as_they_were_or_named(kind, made, directory):
    pattern, deleted = FILES[kind]
    paths, others = (sorted(run.glob(pattern)) for run in made)
    generator, ends = np.random.default_rng(len(kind)), Counter[tuple[str, str]]()
    expected = tables_in(Directory(made[0]))
    filesystem, base = fs.FileSystem.from_uri(directory.root) if directory.is_local else directory._place
    flips = FLIPS if directory.is_local else -(-FLIPS // 4)
    for fault in [*["flipped bit"] * flips, *(["cut", "empty", "older"] if FLIPS > 1 else [])]:
        place = int(generator.integers(len(paths)))
        fs.copy_files(str(made[0]), base, destination_filesystem=filesystem)
        for name in deleted:
            (directory.remove if "." in name else directory.remove_folder)(name)
        content = damaged(fault, paths[place].read_bytes(), others[place % len(others)].read_bytes(), generator)
        directory.write(str(paths[place].relative_to(made[0])), content)
        ends[fault, end_of(directory, expected, [*FAST, *TABLES_ONLY] if deleted else FAST)] += 1
        filesystem.delete_dir(base)
    told(directory, kind, ends)


ENDS = (signal.SIGKILL, signal.SIGSTOP)
FAULTS = [(kind, stage, number) for kind, (_, stages) in PROCESSES.items() for stage in stages for number in ENDS]


@pytest.mark.skipif(FLIPS == 1, reason="the short form")
@pytest.mark.parametrize(("kind", "stage", "number"), FAULTS)
def test_killed_and_frozen_processes_cost_nothing_but_time(kind, stage, number, directory, undisturbed, tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(command(directory.root, *SMALL), stdout=said, stderr=said)
    while not directory.files(*STAGES[stage]):
        assert process.poll() is None, f"the command ended before {stage} had begun"
        time.sleep(0.01)
    family = psutil.Process(process.pid).children(recursive=True)
    hit = [child.pid for child in family if PROCESSES[kind][0] in " ".join(child.cmdline())]
    for pid in [process.pid] if kind == "driver" else hit[:1]:
        os.kill(pid, number)
        if number == signal.SIGSTOP:
            time.sleep(15)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    code, lines = process.wait(300), log.read_text().strip().splitlines()
    assert code in (0, -9) or "dbviz-ray" in lines[-1], f"exit code {code} without a word"
    assert "Traceback" not in "".join(lines)
    end = end_of(directory, tables_in(Directory(undisturbed[0])), SMALL)
    told(directory, kind, Counter({(f"{number.name} in {stage}", f"code {code}, then {end}"): 1}))


KILLS = int(os.environ.get("KILLS", "0"))
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
NODES = 2
WORKERS = {"trial worker": "ray::ImplicitFunc", "evaluator": "ray::Evaluator"}
MODELS = 9
KINDS = ["trial worker", "node", "driver", "evaluator", "node"]
"""One kill after the other, so that a node goes in training and another, the last, in evaluation."""
PLANES = {"test": 20, "one_class": 10}
MANY_PLANES = {"test": 800, "train": 800}
LONG = [
    *SMALL, "training.epochs=200", "resources.retries=1000", "resources.evaluators=null",
    "planes={" + ", ".join(f"{name}: {{images: {name}, count: {count}}}" for name, count in MANY_PLANES.items()) + "}",
]  # fmt: skip


@contextmanager
def cluster_of(nodes: int) -> Iterator[Cluster]:
    """A head that takes no work, as in cluster.yaml, and nodes of one core each."""
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(nodes):
            cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        yield cluster
    finally:
        cluster.shutdown()


def raylet_of(node: Any) -> int:
    [information] = node.all_processes[PROCESS_TYPE_RAYLET]
    return int(information.process.pid)


def disturbed(
    directory: Path, generator: random.Random, kinds: Sequence[str], sweep: Sequence[str], within: float
) -> tuple[dict[Path, tuple[int, int]], Counter[str]]:
    """Run `sweep` and kill `kinds` in turn, each `within` so many seconds of when it is first there.

    What each model's last file was when it was first there, and the kills.
    """
    trained: dict[Path, tuple[int, int]] = {}
    kills: Counter[str] = Counter()
    waiting = deque(kinds)
    with cluster_of(NODES) as cluster:
        process = started(directory, *sweep, address=cluster.address)
        due: float | None = None
        while process.poll() != 0:
            if process.poll() is not None:  # killed, or brought down by another kill
                process = started(directory, *sweep, address=cluster.address)
            for path in directory.glob("models/*/model.json"):
                if path not in trained:
                    trained[path] = _identity(path)
            targets = _targets(cluster, process, waiting[0]) if waiting else []
            if targets and due is None:
                due = time.monotonic() + generator.uniform(0, within)
            if targets and due is not None and time.monotonic() >= due:
                _kill(cluster, process, waiting[0], generator.choice(targets))
                kills[waiting.popleft()] += 1
                due = None
            time.sleep(0.02)
    return trained, kills


def _workers(cluster: Cluster) -> list[Any]:
    return [node for node in cluster.list_all_nodes() if node is not cluster.head_node]


def _targets(cluster: Cluster, process: subprocess.Popen[bytes], kind: str) -> list[int]:
    if kind == "driver":
        return [process.pid]
    raylets = [raylet_of(node) for node in _workers(cluster)]
    if kind == "node":
        return raylets
    found: list[int] = []
    for raylet in raylets:
        with suppress(psutil.Error):  # it has ended
            workers = psutil.Process(raylet).children()
            found += [worker.pid for worker in workers if WORKERS[kind] in " ".join(worker.cmdline())]
    return found


def _kill(cluster: Cluster, process: subprocess.Popen[bytes], kind: str, pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    if kind == "driver":
        process.wait()
    if kind == "node":
        [lost] = [node for node in _workers(cluster) if raylet_of(node) == pid]
        cluster.remove_node(lost, allow_graceful=False)  # what else belonged to the machine
        cluster.add_node(**NODE)


def check(directory: Path, expected: Path, trained: dict[Path, tuple[int, int]], planes: Mapping[str, int]) -> None:
    """AssertionError unless a disturbed sweep's results are those of the undisturbed one, each made once."""
    assert tables(directory) == tables(expected)
    assert len(trained) == MODELS
    assert {path: _identity(path) for path in trained} == trained, "no model is trained again once it is complete"
    rows = ds.dataset(directory / "labels", partitioning="hive").to_table(columns=["plane_set", "model_id", "plane"])
    counts = Counter(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
    assert set(counts.values()) == {1}, "no row is doubled"
    models = {path.parent.name for path in trained}
    assert counts.keys() == {(s, m, p) for s, count in planes.items() for m in models for p in range(count)}
    assert not [path for path in directory.rglob(".*") if path.is_file()], "nothing is left of what was killed"


def _identity(path: Path) -> tuple[int, int]:
    information = path.stat()
    return information.st_ino, information.st_mtime_ns


@pytest.mark.timeout(400)
def test_results_survive_kills_at_random_moments(undisturbed, tmp_path):
    """Evaluators take longer than 0.3 seconds to start, and two seconds for their work."""
    sweep = [*SMALL, "resources.retries=1", "resources.evaluators=null", *TABLES_ONLY]
    trained, kills = disturbed(tmp_path / "run", random.Random(1), KINDS, sweep, within=0.3)
    assert kills.keys() == set(KINDS)
    check(tmp_path / "run", undisturbed[0], trained, PLANES)


@pytest.mark.skipif(not KILLS, reason="the long form")
@pytest.mark.timeout(3600)
def test_results_survive_many_kills(tmp_path):
    """In training first, and from the first evaluator on in evaluation."""
    generator, kills = random.Random(1), Counter[str]()
    run(tmp_path / "undisturbed", *LONG)
    while kills.total() < KILLS:
        directory = tmp_path / str(kills.total()) / "run"
        directory.parent.mkdir()
        kinds = generator.sample(["driver", "node", "trial worker"], 3)
        kinds += ["evaluator", *generator.sample(["driver", "node"], 2)]
        trained, of_sweep = disturbed(directory, generator, kinds, LONG, within=1.5)
        check(directory, tmp_path / "undisturbed", trained, MANY_PLANES)
        kills += of_sweep
