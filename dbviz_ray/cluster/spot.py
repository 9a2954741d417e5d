"""On-demand nodes where there are no spot nodes to be had: a preference of Ray's autoscaler, on the head of a cluster.

Of two node types that fit equally well, Ray takes the same one again however often its launch was refused. Its first
version lets a function of ours rank them (RAY_AUTOSCALER_UTILIZATION_SCORER in cluster.yaml).
"""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer


def last_if_refused(
    resources: dict[str, float], demands: list[dict[str, float]], node_type: str, *, node_availability_summary: Any
) -> tuple[Any, ...] | None:
    """Ray's own score of a node type, behind those of all types whose last launch was not refused.

    Ray forgets a refusal after half an hour (AUTOSCALER_NODE_AVAILABILITY_MAX_STALENESS_S). None if nothing fits.
    """
    score = _default_utilization_scorer(
        resources, demands, node_type, node_availability_summary=node_availability_summary
    )
    launch = node_availability_summary.node_availabilities.get(node_type)
    return None if score is None else (launch is None or launch.is_available, *score)
