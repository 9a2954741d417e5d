"""Ray actors label planes: a pool of evaluators, each taking whole models one after another."""

from __future__ import annotations

from collections.abc import Sequence

import ray
from ray.util import ActorPool

from dbviz_ray import interruption
from dbviz_ray.cluster.session import start_worker
from dbviz_ray.config import ModelConfig, ResourcesConfig
from dbviz_ray.evaluation import label_maps
from dbviz_ray.planes import PlaneSet
from dbviz_ray.progress import Progress
from dbviz_ray.records import load_network
from dbviz_ray.store import Store

Task = tuple[str, ModelConfig]
"""A plane set's name and a model."""


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
    actors = [
        ray.remote(_Evaluator)
        .options(
            num_cpus=resources.cpus_per_evaluator,
            num_gpus=resources.gpus_per_evaluator,
            max_restarts=resources.retries,
            max_task_retries=resources.retries,
        )
        .remote(store, classes, resources)
        for _ in range(min(len(tasks), resources.evaluators or _evaluators_that_fit(resources)))
    ]
    failures: dict[str, str] = {}
    points = {name: len(planes) * planes.resolution**2 for name, planes in plane_sets.items()}
    with Progress("evaluate", sum(points[name] for name, _ in tasks), "points") as progress:
        pool = ActorPool(actors)
        results = pool.map_unordered(lambda actor, task: actor.evaluate.remote(*task, shared[task[0]]), tasks)
        for plane_set, model_id, failure in results:
            interruption.check()
            progress.advance(points[plane_set])
            if failure is not None:
                failures[model_id] = failure
                progress.say(f"{model_id} failed: {failure}")
    return failures


class _Evaluator:
    def __init__(self, store: Store, classes: int, resources: ResourcesConfig) -> None:
        self._plane_sets: dict[str, PlaneSet] = {}
        self._store, self._classes = store, classes
        self._device = start_worker(resources.gpus_per_evaluator > 0, resources.cpus_per_evaluator)

    def evaluate(
        self, plane_set: str, model: ModelConfig, reference: list[ray.ObjectRef]
    ) -> tuple[str, str, str | None]:
        """Label one model's planes; the third value is why it failed, or None.

        The reference comes in a list, so that Ray leaves it to this evaluator to fetch the planes, once.
        """
        if plane_set not in self._plane_sets:
            self._plane_sets[plane_set] = ray.get(reference[0])
        planes = self._plane_sets[plane_set]
        try:
            network = load_network(self._store, model, planes, self._classes).to(self._device)
            labels = label_maps(network, planes, self._device)
            self._store.write_label_maps(plane_set, model.model_id, labels.numpy())
        except Exception as error:
            return plane_set, model.model_id, f"{type(error).__name__}: {error}"
        return plane_set, model.model_id, None


def _evaluators_that_fit(resources: ResourcesConfig) -> int:
    cluster = ray.cluster_resources()
    fits = [cluster.get("CPU", 1) // resources.cpus_per_evaluator]
    if resources.gpus_per_evaluator:
        fits.append(cluster.get("GPU", 0) // resources.gpus_per_evaluator)
    return max(1, int(min(fits)))
