"""Ray actors label planes: a pool of evaluators, each taking whole models one after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from dbviz_ray import interruption
from dbviz_ray.cluster.session import start_worker
from dbviz_ray.config import ModelConfig, ResourcesConfig
from dbviz_ray.evaluation import label_maps
from dbviz_ray.planes import PlaneSet
from dbviz_ray.progress import Progress
from dbviz_ray.records import load_network
from dbviz_ray.store import Store

Task = tuple[str, ModelConfig, int]
"""A plane set's name, a model, and the epoch whose weights label it."""


def evaluate_models(
    store: Store,
    tasks: Sequence[Task],
    plane_sets: dict[str, PlaneSet],
    classes: int,
    resources: ResourcesConfig,
) -> dict[str, str]:
    """Write the label maps of `tasks`, started in this order; return the reason of each that failed.

    Plane sets are shipped once to each node through Ray's object store. An evaluator whose process dies is
    restarted and does its task again; files are written whole, so nothing is doubled.
    """
    if not tasks:
        return {}
    shared = {name: [ray.put(planes)] for name, planes in plane_sets.items()}
    points = {name: len(planes) * planes.resolution**2 for name, planes in plane_sets.items()}
    waiting = deque(tasks)
    failures: dict[str, str] = {}
    with Progress("evaluate", sum(points[name] for name, *_ in tasks), "points") as progress:

        def finish(task: Task, failure: str | None) -> None:
            plane_set, model, _ = task
            progress.advance(points[plane_set])
            if failure is not None:
                failures[model.model_id] = failure
                progress.say(f"{model.model_id} failed: {failure}")

        # An evaluator is given its first task when it has started: one for which there is no room delays nothing.
        count = min(len(tasks), _evaluators_that_fit(resources))
        busy: dict[Any, tuple[Any, Task | None]] = {}
        for actor in [_start_evaluator(store, classes, resources) for _ in range(count)]:
            busy[actor.ready.remote()] = (actor, None)
        while busy and (waiting or any(task for _, task in busy.values())):
            [done], _ = ray.wait(list(busy))
            interruption.check()
            actor, task = busy.pop(done)
            try:
                failure = ray.get(done)
            except RayError as error:
                failure = f"its evaluator died ({type(error).__name__}) and the retries are used up"
                actor = _start_evaluator(store, classes, resources) if task else None
            if task is not None:
                finish(task, failure)
            if actor is not None and waiting:
                task = waiting.popleft()
                busy[actor.evaluate.remote(*task, shared[task[0]])] = (actor, task)
        for task in waiting:
            finish(task, "no evaluator could be started")
    return failures


def _start_evaluator(store: Store, classes: int, resources: ResourcesConfig) -> Any:
    options = {
        "num_cpus": resources.cpus_per_evaluator,
        "num_gpus": resources.gpus_per_evaluator,
        "max_restarts": resources.retries,
        "max_task_retries": resources.retries,
    }
    return ray.remote(_Evaluator).options(**options).remote(store, classes, resources)


class _Evaluator:
    def __init__(self, store: Store, classes: int, resources: ResourcesConfig) -> None:
        self._plane_sets: dict[str, PlaneSet] = {}
        self._store, self._classes = store, classes
        self._device = start_worker(resources.gpus_per_evaluator > 0, resources.cpus_per_evaluator)

    def ready(self) -> None:
        """Answered when the evaluator has started."""

    def evaluate(self, plane_set: str, model: ModelConfig, epoch: int, reference: list[ray.ObjectRef]) -> str | None:
        """Label planes with a model as it was after `epoch`; returns why it failed, or None.

        The reference comes in a list, so that Ray leaves it to this evaluator to fetch the planes, once.
        """
        try:
            if plane_set not in self._plane_sets:
                self._plane_sets[plane_set] = ray.get(reference[0])
            planes = self._plane_sets[plane_set]
            network = load_network(self._store, model, planes.image_shape, self._classes, epoch).to(self._device)
            labels = label_maps(network, planes, self._device)
            self._store.write_label_maps(plane_set, model.model_id, epoch, labels.numpy())
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None


def _evaluators_that_fit(resources: ResourcesConfig) -> int:
    """As many as asked for; unless told otherwise, as many as the nodes that are there now can hold."""
    if resources.evaluators is not None:
        return resources.evaluators
    fits = 0
    for node in ray.nodes():
        there = node["Resources"] if node["Alive"] else {}
        room = [there.get("CPU", 0) // resources.cpus_per_evaluator]
        if resources.gpus_per_evaluator:
            room.append(there.get("GPU", 0) // resources.gpus_per_evaluator)
        fits += int(min(room))
    return max(1, fits)
