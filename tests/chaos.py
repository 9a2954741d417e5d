"""Kill what a sweep consists of at random moments, start its command again whenever it dies, and compare the results.

    python tests/chaos.py [--kills 30] [--seed 1]

Ray nodes, trial workers, evaluators and the command itself are killed with SIGKILL, for as many sweeps as it takes; a
node that was killed is replaced, as an autoscaler would. After each sweep: its tables equal those of an undisturbed
one byte for byte, every model was trained once, and every row is there once.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.dataset as ds
from node_clusters import NODE, cluster_of, kill, raylet_of, workers_of
from ray.cluster_utils import Cluster
from whole_sweeps import SMALL, run, started, tables

NODES = 2
KINDS = {"trial worker": "ray::ImplicitFunc", "evaluator": "ray::Evaluator"}
SECONDS_BETWEEN = (0.3, 6.0)
KILLS_OF_A_SWEEP = 12
PLANES = {"test": 800, "train": 800}
SWEEP = [
    *SMALL, "training.epochs=200", "resources.retries=1000",
    "planes={" + ", ".join(f"{name}: {{images: {name}, count: {count}}}" for name, count in PLANES.items()) + "}",
]  # fmt: skip
MODELS = 9


@dataclass
class Chaos:
    """Kills so far, and what decides on the next."""

    generator: random.Random
    kills: Counter[str] = field(default_factory=Counter)

    def strike(self, cluster: Cluster, process: subprocess.Popen[bytes]) -> None:
        """Kill one of the things that are there now, rather of a kind that was spared so far."""
        nodes = [node for node in cluster.list_all_nodes() if node is not cluster.head_node]
        targets = {
            "driver": [process.pid],
            "node": [raylet_of(node) for node in nodes],
            **{kind: [pid for node in nodes for pid in workers_of(node, title)] for kind, title in KINDS.items()},
        }
        kinds = [kind for kind, pids in targets.items() if pids]
        [kind] = self.generator.choices(kinds, [4.0 ** -self.kills[kind] for kind in kinds])
        pid = self.generator.choice(targets[kind])
        kill(pid)
        if kind == "driver":
            process.wait()
        if kind == "node":
            [lost] = [node for node in nodes if raylet_of(node) == pid]
            cluster.remove_node(lost, allow_graceful=False)  # what else belonged to the machine
            cluster.add_node(**NODE)
        self.kills[kind] += 1


def disturbed(directory: Path, chaos: Chaos, kills: int) -> dict[Path, tuple[int, int]]:
    """Run a sweep, killing until there were `kills` kills; what each model's last file was when it first was there."""
    trained: dict[Path, tuple[int, int]] = {}
    with cluster_of(NODES) as cluster:
        process = started(directory, *SWEEP, address=cluster.address)
        strike = time.monotonic() + chaos.generator.uniform(*SECONDS_BETWEEN)
        while process.poll() != 0:
            if process.poll() is not None:  # killed, or brought down by another kill
                process = started(directory, *SWEEP, address=cluster.address)
            if time.monotonic() >= strike and chaos.kills.total() < kills:
                chaos.strike(cluster, process)
                strike = time.monotonic() + chaos.generator.uniform(*SECONDS_BETWEEN)
            for path in directory.glob("models/*/model.json"):
                if path not in trained:
                    trained[path] = _identity(path)
            time.sleep(0.05)
    return trained


def check(directory: Path, expected: Path, trained: dict[Path, tuple[int, int]]) -> None:
    """AssertionError unless a disturbed sweep's results are those of the undisturbed one, each made once."""
    assert tables(directory) == tables(expected)
    assert len(trained) == MODELS
    assert {path: _identity(path) for path in trained} == trained, "no model is trained again once it is complete"
    rows = ds.dataset(directory / "labels", partitioning="hive").to_table(columns=["plane_set", "model_id", "plane"])
    counts = Counter(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
    assert set(counts.values()) == {1}, "no row is doubled"
    models = {path.parent.name for path in trained}
    assert counts.keys() == {(s, m, p) for s, count in PLANES.items() for m in models for p in range(count)}
    assert not [path for path in directory.rglob(".*") if path.is_file()], "nothing is left of what was killed"


def _identity(path: Path) -> tuple[int, int]:
    information = path.stat()
    return information.st_ino, information.st_mtime_ns


def main() -> int:
    """Sweeps until there were enough kills."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1, help="of the moments and kinds; the rest is the machine's")
    options = parser.parse_args()
    chaos = Chaos(random.Random(options.seed))
    with tempfile.TemporaryDirectory() as scratch:
        expected = Path(scratch) / "undisturbed" / "run"
        expected.parent.mkdir()
        run(expected, *SWEEP)
        sweeps = 0
        while chaos.kills.total() < options.kills:
            directory = Path(scratch) / f"disturbed-{sweeps}" / "run"
            directory.parent.mkdir()
            before = chaos.kills.total()
            trained = disturbed(directory, chaos, min(options.kills, before + KILLS_OF_A_SWEEP))
            check(directory, expected, trained)
            sweeps += 1
            print(f"sweep {sweeps}: {chaos.kills.total() - before} kills, results equal", flush=True)
    print(f"{chaos.kills.total()} kills ({dict(chaos.kills)}) in {sweeps} sweeps: all results equal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
