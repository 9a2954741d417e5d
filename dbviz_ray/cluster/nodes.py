"""The machines of the Ray session: which are alive, and which are lost."""

import socket
from collections.abc import Mapping
from typing import Any

import ray
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer

from dbviz_ray.cluster.schedule import NodeIsLost

ANSWER_SECONDS = 3.0
"""Longest wait for a machine to accept a connection."""


def answers(host: str, port: int) -> bool:
    """Whether anything accepts a connection at this address."""
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS):
            return True
    except OSError:
        return False


def alive_nodes() -> dict[str, dict[str, float]]:
    """Resources of every machine that Ray believes alive, by node id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def this_node() -> str:
    """The id of the node that this process runs on."""
    return str(ray.get_runtime_context().get_node_id())


def loss_of(node: str | None, there_before: set[str]) -> NodeIsLost:
    """A check whether `node` is lost or, if it is None, any of the nodes in `there_before`."""
    concerned = there_before if node is None else {node}

    def is_lost() -> bool:
        # We ask them, since Ray notices dead processes at once but a dead node only after 15 s.
        alive = {row["NodeID"]: row for row in ray.nodes() if row["Alive"]}
        addresses = [(alive[n]["NodeManagerAddress"], alive[n]["NodeManagerPort"]) for n in concerned if n in alive]
        return len(addresses) < len(concerned) or not all(answers(*address) for address in addresses)

    return is_lost


def room_for(needed: Mapping[str, float], there: Mapping[str, float]) -> int:
    """How many times `needed` fits into a machine's resources."""
    return int(min(there.get(kind, 0) / amount + 1e-6 for kind, amount in needed.items() if amount))


def last_if_refused(
    resources: dict[str, float], demands: list[dict[str, float]], node_type: str, *, node_availability_summary: Any
) -> tuple[Any, ...] | None:
    """Ray's own score of a node type; types whose last launch was refused rank last. None if nothing fits.

    Ray forgets a refusal after half an hour (AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S).
    """
    score = _default_utilization_scorer(
        resources, demands, node_type, node_availability_summary=node_availability_summary
    )
    launch = node_availability_summary.node_availabilities.get(node_type)
    return None if score is None else (launch is None or launch.is_available, *score)
