"""Ray actors label planes and find margins: a pool of evaluators, each taking one task after another."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from dbviz_ray import interruption
from dbviz_ray.cluster.session import start_worker
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.progress import Progress
from dbviz_ray.records import load_network
from dbviz_ray.store import Store
from dbviz_ray.tasks import Task, What
from dbviz_ray.work import Work


def evaluate_models(
    store: Store,
    tasks: Sequence[Task],
    work: Mapping[What, Work],
    classes: int,
    resources: ResourcesConfig,
) -> dict[str, str]:
    """Do `tasks`, started in this order, each the `work` that it is; return the reason of each that failed.

    Work is shipped once to each node through Ray's object store. An evaluator whose process dies is
    restarted and does its task again; files are written whole, so nothing is doubled.
    """
    if not tasks:
        return {}
    shared = {what: [ray.put(work[what])] for what in {task.what for task in tasks}}
    points = {what: work[what].points for what in shared}
    waiting = deque(tasks)
    failures: dict[str, str] = {}
    with Progress("evaluate", sum(points[task.what] for task in tasks), "points") as progress:

        def finish(task: Task, failure: str | None) -> None:
            progress.advance(points[task.what])
            if failure is not None:
                failures[task.model.model_id] = failure
                progress.say(f"{task.model.model_id} failed: {failure}")

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
                busy[actor.evaluate.remote(task, shared[task.what])] = (actor, task)
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
        self._work: dict[What, Work] = {}
        self._store, self._classes = store, classes
        self._device = start_worker(resources.gpus_per_evaluator > 0, resources.cpus_per_evaluator)

    def ready(self) -> None:
        """Answered when the evaluator has started."""

    def evaluate(self, task: Task, reference: list[ray.ObjectRef]) -> str | None:
        """Do a task; returns why it failed, or None.

        The reference comes in a list, so that Ray leaves it to this evaluator to fetch the work, once.
        """
        try:
            if task.what not in self._work:
                self._work[task.what] = ray.get(reference[0])
            work = self._work[task.what]
            network = load_network(self._store, task.model, work.image_shape, self._classes, task.epoch)
            work.do(network.to(self._device), self._device, self._store, task.model.model_id, task.epoch)
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
