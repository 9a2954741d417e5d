"""What trials and evaluators occupy of a machine, and how many fit."""

from __future__ import annotations

import math

from dbviz_ray.cluster.nodes import alive_nodes, room_for
from dbviz_ray.cluster.session import Session
from dbviz_ray.config import Cohort, ResourcesConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.planning.memory import memory_need
from dbviz_ray.planning.sizes import step_flops

GIB = 1024**3
LEAST_MEMORY = 3 * GIB // 2
"""Memory is asked for as this or as whole GiB: a process that has trained a cohort is used again for one that asks for
the same, and Tune does not start another one beside it while its cohorts end sooner than a process starts (5 s)."""
SMALL_STEP_FLOPS = 1e11
"""A cohort whose step is cheaper leaves a data-centre GPU idle for most of it; assumed, not measured."""


def room_of_cohort(
    cohort: Cohort, data: DatasetFacts, resources: ResourcesConfig, session: Session
) -> dict[str, float]:
    """Ray's resources of the trial that trains a cohort: cores, memory as it is counted, and a GPU or a part of it.

    Cohorts of small networks share a GPU, unless they are known not to fit into it together.
    """
    model = cohort.models[0]
    need = memory_need(cohort.models, data, resources)
    memory = LEAST_MEMORY if need.host <= LEAST_MEMORY else math.ceil(need.host / GIB) * GIB
    room: dict[str, float] = {"CPU": resources.cpus_per_cohort, "memory": min(memory, session.memory_limit)}
    if resources.gpus_per_cohort:
        sharing = resources.small_cohorts_per_gpu
        is_small = step_flops(cohort.models, data, model.training.batch_size) < SMALL_STEP_FLOPS
        fits = resources.gpu_memory is None or need.device * sharing <= resources.gpu_memory * GIB
        room["GPU"] = resources.gpus_per_cohort / (sharing if is_small and fits else 1)
    return room


def room_of_evaluator(resources: ResourcesConfig) -> dict[str, float]:
    """Ray's resources of one evaluator."""
    gpus = resources.gpus_per_evaluator
    return {"CPU": resources.cpus_per_evaluator} | ({"GPU": gpus} if gpus else {})


def evaluators_that_fit(resources: ResourcesConfig) -> int:
    """As many as the machines that are there now can hold; at least one, which may have to wait for one to come."""
    room = room_of_evaluator(resources)
    return max(1, sum(room_for(room, there) for there in alive_nodes().values()))
