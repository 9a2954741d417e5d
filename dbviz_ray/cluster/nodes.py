"""The machines of the Ray session: which are there, and which have gone."""

from __future__ import annotations

from typing import Any

import ray

from dbviz_ray.schedule import NodeIsLost


def alive_nodes() -> dict[str, dict[str, float]]:
    """Resources of every machine that is there, by node id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def this_node() -> str:
    """The id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


def loss_of(node: str | None, there_before: set[str]) -> NodeIsLost:
    """Whether `node` has gone; where it is not known, whether any node has gone of those that were there before."""
    concerned = there_before if node is None else {node}
    return lambda: bool(concerned - alive_nodes().keys())


def room_for(needed: dict[str, Any], there: dict[str, float]) -> int:
    """How many times a machine's resources hold what is needed."""
    return int(min(there.get(kind, 0) // amount for kind, amount in needed.items() if amount))
