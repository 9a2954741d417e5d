"""Ray clusters of several nodes on one machine, and their processes, for tests that take nodes and processes away."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ray._private.ray_constants import PROCESS_TYPE_RAYLET
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


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
    """The process that is a node of a cluster, for Ray."""
    [information] = node.all_processes[PROCESS_TYPE_RAYLET]
    return int(information.process.pid)


def workers_of(node: Any, name: str) -> list[int]:
    """Processes that do work on a node and whose title holds `name`: ray::IDLE, ray::ImplicitFunc, ray::Evaluator."""
    return [pid for pid in _children_of(raylet_of(node)) if name in _title_of(pid)]


def kill(pid: int) -> None:
    """Without warning."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _children_of(parent: int) -> list[int]:
    children = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                children.append(int(folder.name))
    return children


def _title_of(pid: int) -> str:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""
