"""Ray Tune trains cohorts, one a trial: it places trials and reuses their processes. A `CohortSchedule` decides what is
next and what is tried again, since Tune's retries know neither lost machines nor halved cohorts.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from ray import tune
from ray.exceptions import RayTaskError
from ray.tune.search import Searcher

from dbviz_ray.cluster.nodes import alive_nodes, loss_of
from dbviz_ray.cluster.schedule import CohortSchedule
from dbviz_ray.cluster.session import Session
from dbviz_ray.cluster.trial import train_in_trial
from dbviz_ray.config import Cohort, ResourcesConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.errors import DamagedFileError, one_line
from dbviz_ray.planning.memory import memory_need
from dbviz_ray.planning.sizes import step_flops, training_amounts
from dbviz_ray.store import Store
from dbviz_ray.store.models import CUDA_ERROR, Outcome, StageEnd, WorkEnd
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Progress

GIB = 1024**3
LEAST_MEMORY = 3 * GIB // 2
"""Requests are this much or whole GiB. Few sizes let Tune reuse a process for the next cohort, which takes the same
request; starting a process takes 5 s."""
SMALL_STEP_FLOPS = 1e11
"""A cheaper step leaves a data-centre GPU mostly idle; assumed, not measured."""

TRIED_AGAIN = {
    Outcome.PREEMPTED: "is started again: its machine has gone",
    Outcome.CRASHED: "is started again: its process died",
    Outcome.OUT_OF_MEMORY: "does not fit into the memory of its GPU and is halved",
}


def train_cohorts(
    store: Store,
    cohorts: Sequence[Cohort],
    data: DatasetFacts,
    trained: set[str],
    resources: ResourcesConfig,
    facts: Mapping[str, Any],
    session: Session,
    driver: str,
) -> StageEnd:
    """Train the missing `cohorts`, starting them in this order.

    `trained` are model_ids, teachers included; `facts` are stored with every model. `driver` is the token of the lease:
    workers write only while it is valid.
    """
    if not cohorts:
        return StageEnd()
    schedule = CohortSchedule(cohorts, trained, resources.retries)
    amounts = training_amounts(cohorts, data)
    models = {model.model_id: model for cohort in cohorts for model in cohort.models}

    def room(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        cohort = Cohort(models=tuple(models[model_id] for model_id in config["members"]))
        return tune.PlacementGroupFactory([room_of_cohort(cohort, data, resources, session)])

    trainable = tune.with_parameters(
        train_in_trial, store=store, models=models, resources=resources, facts=dict(facts), driver=driver
    )
    with (
        Progress("train", amounts, "epochs", len(trained - amounts.keys())) as progress,
        tempfile.TemporaryDirectory() as scratch,
    ):
        watcher = _Watcher(schedule, progress)
        tuner = tune.Tuner(
            tune.with_resources(trainable, room),
            tune_config=tune.TuneConfig(
                search_alg=_Suggestions(schedule, watcher),
                num_samples=-1,  # until the schedule has finished
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(name="train", storage_path=scratch, verbose=0, callbacks=[watcher], stop=watcher),
        )
        tuner.fit()
    return StageEnd(schedule.failures, watcher.trained_on, watcher.damaged, schedule.stopped)


def room_of_cohort(
    cohort: Cohort, data: DatasetFacts, resources: ResourcesConfig, session: Session
) -> dict[str, float]:
    """Ray's resources for the trial of a cohort: cores, estimated memory, and a GPU or a part of one.

    Cohorts of small networks share a GPU, unless `gpu_memory` says that they do not fit together.
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


class _Suggestions(Searcher):  # type: ignore[misc]
    """Gives Tune the next cohort of the schedule as a trial's configuration."""

    def __init__(self, schedule: CohortSchedule, watcher: _Watcher) -> None:
        super().__init__(metric="epoch", mode="max")
        self._schedule, self._watcher = schedule, watcher

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

    def restore(self, checkpoint_path: str) -> None:
        """Nothing was saved."""


class _Watcher(tune.Callback, tune.Stopper):  # type: ignore[misc]
    """Updates the progress display, and reports the ends of trials to the schedule; all end once that has stopped."""

    def __init__(self, schedule: CohortSchedule, progress: Progress) -> None:
        self._schedule, self._progress = schedule, progress
        self._said: set[str] = set()
        self._running: dict[str, tuple[Cohort, set[str]]] = {}
        self.trained_on: dict[str, str] = {}
        self.damaged: DamagedFileError | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune stores its callbacks, but nothing restores them."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether all trials end, pending ones included."""
        return self._schedule.stopped is not None

    def begins(self, trial_id: str, cohort: Cohort) -> None:
        """Remember a trial's cohort and the nodes now alive."""
        self._running[trial_id] = cohort, set(alive_nodes())

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        interruption.check()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if trial.trial_id not in self._running:
            return
        cohort, _ = self._running[trial.trial_id]
        for model in cohort.models:
            self._progress.reach(model.model_id, result["from_epoch"], found=True)
            self._progress.reach(model.model_id, result["epoch"])
        if "end" not in result:
            return
        end: WorkEnd = result["end"]
        for model_id, epoch in result.get("diverged", {}).items():
            self._progress.say(
                f"{model_id} diverged: its loss is not finite from epoch {epoch} on; it is left out of the scores"
            )
        remark = result.get("remark")
        if remark and remark not in self._said:  # many cohorts may have the same
            self._said.add(remark)
            self._progress.say(remark)
        self.damaged = end.damaged or self.damaged
        if end.stops:
            self._schedule.stop(end.reason)
        if end.outcome is Outcome.DONE:
            self.trained_on.update({model.model_id: result["node"] for model in cohort.models})
        self._ended(trial.trial_id, end, result["node"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if trial.trial_id not in self._running:  # it has reported its end
            return
        node = (trial.last_result or {}).get("node")
        error = trial.get_pickled_error()
        if isinstance(error, RayTaskError) and CUDA_ERROR not in str(error):
            # The trial catches all errors of the training itself, so this one came before it and would recur.
            end = WorkEnd(Outcome.FAILED, one_line(error.cause, with_type=True))
        else:
            end = WorkEnd(Outcome.CRASHED, "its process died, and no retries are left")
        self._ended(trial.trial_id, end, node)

    def _ended(self, trial_id: str, end: WorkEnd, node: str | None) -> None:
        cohort, there_before = self._running.pop(trial_id)
        outcome = self._schedule.ended(cohort, end.outcome, end.reason, loss_of(node, there_before))
        failures = self._schedule.failures
        for model_id in failures:
            self._progress.fail(model_id)
        if cohort.models[0].model_id in failures:
            self._progress.say(f"{cohort.cohort_id} failed ({outcome}): {end.reason}")
        elif outcome in TRIED_AGAIN:
            self._progress.say(f"{cohort.cohort_id} {TRIED_AGAIN[outcome]}")
