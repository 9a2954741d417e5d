"""Kill what a sweep consists of at random moments, start its command again whenever it dies, and compare the results.

    python tests/support/chaos.py [--kills 30] [--seed 1]

Ray nodes, trial workers, evaluators and the command itself are killed with SIGKILL, for as many sweeps as it takes; a
node that was killed is replaced, as an autoscaler would. After each sweep: its tables equal those of an undisturbed
one byte for byte, every model was trained once, and every row is there once.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.cluster_utils import Cluster
from ray.thirdparty_files import psutil
from support.whole_sweeps import SMALL, run, started, tables

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
NODES = 2
WORKERS = {"trial worker": "ray::ImplicitFunc", "evaluator": "ray::Evaluator"}
AFTER_SECONDS = 1.5
"""At most this long after it is first there, what is next to be killed is killed, in sweeps that take long enough."""
PLANES = {"test": 800, "train": 800}
SWEEP = [
    *SMALL, "training.epochs=200", "resources.retries=1000", "resources.evaluators=null",
    "planes={" + ", ".join(f"{name}: {{images: {name}, count: {count}}}" for name, count in PLANES.items()) + "}",
]  # fmt: skip
MODELS = 9


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
    directory: Path,
    generator: random.Random,
    kinds: Sequence[str],
    sweep: Sequence[str] = SWEEP,
    within: float = AFTER_SECONDS,
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


def check(
    directory: Path, expected: Path, trained: dict[Path, tuple[int, int]], planes: Mapping[str, int] = PLANES
) -> None:
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of the moments and kinds; the rest is the machine's")
    options = parser.parse_args()
    generator = random.Random(options.seed)
    kills: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        expected = Path(scratch) / "undisturbed" / "run"
        expected.parent.mkdir()
        run(expected, *SWEEP)
        sweeps = 0
        while kills.total() < options.kills:
            directory = Path(scratch) / f"disturbed-{sweeps}" / "run"
            directory.parent.mkdir()
            # In training first, and from the first evaluator on in evaluation.
            kinds = generator.sample(["driver", "node", "trial worker"], 3)
            kinds += ["evaluator", *generator.sample(["driver", "node"], 2)]
            trained, of_sweep = disturbed(directory, generator, kinds)
            check(directory, expected, trained)
            kills += of_sweep
            sweeps += 1
            print(f"sweep {sweeps}: {dict(of_sweep)}, results equal", flush=True)
    print(f"{kills.total()} kills ({dict(kills)}) in {sweeps} sweeps: all results equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
