"""Ray Tune trains cohorts, one a trial: it places trials and reuses their processes. A `CohortSchedule` decides what is
next and what is tried again, since Tune's retries know neither lost machines nor halved cohorts.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import tune
from ray.exceptions import RayTaskError
from ray.tune.search import Searcher

from dbviz_ray.cluster import Job, Training
from dbviz_ray.cluster.command_trials import Watcher
from dbviz_ray.cluster.metrics import count_cohort
from dbviz_ray.cluster.nodes import alive_nodes, loss_of, this_node
from dbviz_ray.cluster.worker import train_in_worker
from dbviz_ray.config import Cohort, ModelConfig, ResourcesConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.errors import one_line
from dbviz_ray.planning.memory import memory_need
from dbviz_ray.store.models import CUDA_ERROR, Outcome, WorkEnd

if TYPE_CHECKING:
    from dbviz_ray.cluster.session import Session

REPORT_SECONDS = 1.0

GIB = 1024**3
LEAST_MEMORY = 3 * GIB // 2
"""Requests are this much or whole GiB. Few sizes let Tune reuse a process for the next cohort, which takes the same
request; starting a process takes 5 s. And if the next cohort makes another request, Tune starts any of those that make
the same instead, be it the shortest."""


def tune_cohorts(job: Job, training: Training, session: Session) -> None:
    """Train the cohorts of `training` in trials."""
    models = {model.model_id: model for cohort in training.schedule.waiting for model in cohort.models}
    least = least_memory(training.schedule.waiting, job.data, job.resources, session)

    def room(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        cohort = _cohort(config, models)
        return tune.PlacementGroupFactory([room_of_cohort(cohort, job.data, job.resources, session, least)])

    trainable = tune.with_parameters(train_in_trial, models=models, job=job)
    with tempfile.TemporaryDirectory() as scratch:
        watcher = _Watcher(training)
        tune.Tuner(
            tune.with_resources(trainable, room),
            tune_config=tune.TuneConfig(
                search_alg=_Suggestions(training, watcher),
                num_samples=-1,  # until the schedule has finished
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(name="train", storage_path=scratch, verbose=0, callbacks=[watcher], stop=watcher),
        ).fit()


def train_in_trial(config: Mapping[str, Any], models: Mapping[str, ModelConfig], job: Job) -> None:
    """Train the cohort of `config["members"]` in the process of a trial; the last report gives its `WorkEnd`.

    An error that a new process may avoid ends the trial, and the schedule decides whether to try again.
    """
    node = this_node()
    last = time.monotonic()

    def tell(report: dict[str, Any]) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_SECONDS:  # not more often, since every report waits for the driver
            last = time.monotonic()
            tune.report({"node": node, **report})

    report = train_in_worker(_cohort(config, models), job, tell)
    tune.report({"node": node, **report})


def _cohort(config: Mapping[str, Any], models: Mapping[str, ModelConfig]) -> Cohort:
    return Cohort(models=tuple(models[model_id] for model_id in config["members"]))


def least_memory(cohorts: Sequence[Cohort], data: DatasetFacts, resources: ResourcesConfig, session: Session) -> float:
    """Bytes that each cohort asks for at least: on one machine its cores' share of the memory, if all cohorts fit in.

    Then all make the same request, and they start in order. Otherwise small ones would leave no room beside large ones.
    """
    share = session.memory_share(resources.cpus_per_cohort)
    needs = (memory_need(cohort.models, data, resources).host for cohort in cohorts)
    return share if all(need <= share for need in needs) else LEAST_MEMORY


def room_of_cohort(
    cohort: Cohort, data: DatasetFacts, resources: ResourcesConfig, session: Session, least: float = LEAST_MEMORY
) -> dict[str, float]:
    """Ray's resources for the trial of a cohort: cores, estimated memory in bytes, and a GPU or a part of one.

    A cohort that needs more than its part of `gpu_memory` gets the GPU alone.
    """
    need = memory_need(cohort.models, data, resources)
    asked = min(least if need.host <= least else math.ceil(need.host / GIB) * GIB, session.memory_limit)
    room: dict[str, float] = {"CPU": resources.cpus_per_cohort, "memory": asked}
    if resources.gpus_per_cohort:
        share = min(resources.gpus_per_cohort, 1.0)
        fits = resources.gpu_memory is None or need.device <= share * resources.gpu_memory * GIB
        room["GPU"] = resources.gpus_per_cohort if fits else max(resources.gpus_per_cohort, 1.0)
    return room


class _Suggestions(Searcher):  # type: ignore[misc]
    """Gives Tune the next cohort of the schedule as a trial's configuration."""

    def __init__(self, training: Training, watcher: _Watcher) -> None:
        super().__init__(metric="epoch", mode="max")
        self._schedule, self._watcher = training.schedule, watcher

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The members of the next cohort; None if all must wait."""
        cohort = self._schedule.next()
        if cohort is None:
            return Searcher.FINISHED if self._schedule.finished else None
        self._watcher.begins(trial_id, cohort)
        return {"members": [model.model_id for model in cohort.models]}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the watcher learns more about trials that die."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store knows what is done."""


class _Watcher(Watcher, tune.Stopper):  # type: ignore[misc]
    """Hands on what trials report and how they end; all end once the schedule has stopped."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._running: dict[str, tuple[Cohort, set[str]]] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether all trials end, pending ones included."""
        return self._training.schedule.stopped is not None

    def begins(self, trial_id: str, cohort: Cohort) -> None:
        """Remember a trial's cohort and the nodes now alive."""
        self._running[trial_id] = cohort, set(alive_nodes())

    def on_trial_result(self, trial: Any, result: dict[str, Any], **info: Any) -> None:
        if trial.trial_id not in self._running:
            return
        cohort, there_before = self._running[trial.trial_id]
        if "end" in result:
            del self._running[trial.trial_id]
            count_cohort(cohort, result["end"])
        self._training.hear(cohort, result, loss_of(result["node"], there_before))

    def on_trial_error(self, trial: Any, **info: Any) -> None:
        if trial.trial_id not in self._running:  # it has reported its end
            return
        cohort, there_before = self._running.pop(trial.trial_id)
        node = (trial.last_result or {}).get("node")
        error = trial.get_pickled_error()
        if isinstance(error, RayTaskError) and CUDA_ERROR not in str(error):
            # The trial catches all errors of the training itself, so this one came before it and would recur.
            end = WorkEnd(Outcome.FAILED, one_line(error.cause, with_type=True))
        else:
            end = WorkEnd(Outcome.CRASHED, "its process died, and no retries are left")
        count_cohort(cohort, end)
        self._training.hear(cohort, {"epoch": 0, "from_epoch": 0, "end": end}, loss_of(node, there_before))
