"""Workers, nodes and the driver are killed at random moments: the results stay the same.

Ray nodes, trial workers, evaluators and the command itself are killed with SIGKILL; a node that was killed is replaced,
as an autoscaler would, and the command is started again whenever it dies. Afterwards the tables equal those of an
undisturbed sweep byte for byte, every model was trained once, and every row is there once. Sweeps that take longer, and
so meet kills at more moments, for as many as it takes:

    KILLS=30 pytest -m nightly tests/stages/test_chaos.py
"""

import os
import random
import signal
import subprocess
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.cluster_utils import Cluster
from ray.thirdparty_files import psutil
from support.whole_sweeps import SMALL, TABLES_ONLY, run, started, tables

pytestmark = [pytest.mark.slow, pytest.mark.nightly]

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
