"""Ray Tune trains cohorts: one trial, one cohort.

Tune schedules, places and restarts; what is complete is decided by the store alone, since Tune's own snapshots
lag behind and cannot follow a changed grid.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from ray import tune
from torch import nn

from dbviz_ray import interruption
from dbviz_ray.cluster.session import start_worker
from dbviz_ray.config import Cohort, ResourcesConfig
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.networks import facts_of_dataset, step_flops
from dbviz_ray.progress import Progress
from dbviz_ray.records import CohortCheckpoints, load_config, load_network, save_model, save_snapshot
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.training import CohortTraining, TrainedModel, train_cohort

REPORT_SECONDS = 1.0
SMALL_STEP_FLOPS = 1e11
"""A cohort whose step is cheaper leaves a data-centre GPU idle for most of it; assumed, not measured."""


def train_cohorts(
    store: Store, cohorts: Sequence[Cohort], resources: ResourcesConfig, facts: Mapping[str, Any]
) -> dict[str, str]:
    """Train what is missing of `cohorts` (started in this order); return the reason of each cohort that failed."""
    complete = store.complete_models()
    missing = {c.cohort_id: c for c in cohorts if any(m.model_id not in complete for m in c.models)}
    if not missing:
        return {}
    total = sum(len(cohort.models) * cohort.models[0].training.epochs for cohort in missing.values())
    trainable = tune.with_resources(
        tune.with_parameters(_trial, store=store, cohorts=missing, resources=resources, facts=dict(facts)),
        lambda config: _room(missing[config["cohort_id"]], resources),
    )
    with Progress("train", total, "model-epochs") as progress, tempfile.TemporaryDirectory() as scratch:
        watcher = _Watcher(progress)
        tuner = tune.Tuner(
            trainable,
            param_space={"cohort_id": tune.grid_search(list(missing))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name="train",
                storage_path=scratch,
                verbose=0,
                callbacks=[watcher],
                failure_config=tune.FailureConfig(max_failures=resources.retries),
            ),
        )
        tuner.fit()
    return watcher.failures


def _room(cohort: Cohort, resources: ResourcesConfig) -> tune.PlacementGroupFactory:
    """What one trial occupies; cohorts of small networks share a GPU."""
    gpus = resources.gpus_per_cohort
    if gpus and resources.small_cohorts_per_gpu > 1:
        model = cohort.models[0]
        data = facts_of_dataset(model.dataset, resources.data_directory)
        if step_flops(cohort.models, data, model.training.batch_size) < SMALL_STEP_FLOPS:
            gpus /= resources.small_cohorts_per_gpu
    return tune.PlacementGroupFactory([{"CPU": resources.cpus_per_cohort} | ({"GPU": gpus} if gpus else {})])


def _trial(
    config: dict[str, str],
    store: Store,
    cohorts: Mapping[str, Cohort],
    resources: ResourcesConfig,
    facts: Mapping[str, Any],
) -> None:
    """Train one cohort. An exception would come again, so it is reported, not raised: only lost processes retry."""
    cohort = cohorts[config["cohort_id"]]
    try:
        _train(cohort, store, resources, facts)
    except Exception as error:
        if "CUDA error" in str(error):  # the process is of no more use: a new one tries again
            raise
        tune.report({"model_epochs": 0, "failure": f"{type(error).__name__}: {error}"})
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # for the trial beside this one


def _train(cohort: Cohort, store: Store, resources: ResourcesConfig, facts: Mapping[str, Any]) -> None:
    if not store.exists(SWEEP_FILE):
        raise FileNotFoundError(
            f"{store.root} of the driver is not visible on node {platform.node()}; --out must be a folder that all "
            "nodes share, or an object store such as s3://bucket/prefix"
        )
    device = start_worker(resources.gpus_per_cohort > 0, resources.cpus_per_cohort)
    dataset = load_dataset(cohort.models[0].dataset, resources.data_directory)
    started = time.monotonic()

    complete = store.complete_models()

    def keep(snapshots: list[TrainedModel]) -> None:
        for snapshot in snapshots:
            if snapshot.config.model_id not in complete:
                save_snapshot(store, snapshot, dataset)

    trained = train_cohort(
        cohort.models,
        dataset,
        device,
        resources=resources,
        teachers=_teachers(cohort, store, dataset),
        checkpoints=CohortCheckpoints(store, cohort.cohort_id),
        on_epoch=partial(_report, clock=[started]),
        on_snapshot=keep,
    )
    facts = {
        **facts,
        "cohort_id": cohort.cohort_id,
        "device": str(device),
        "seconds": time.monotonic() - started,
    }
    complete = store.complete_models()  # as it is now: another driver may have been at work
    for model in trained:
        if model.config.model_id not in complete:
            save_model(store, model, dataset, facts)
    store.drop_cohort(cohort.cohort_id)
    diverged = {m.config.model_id: m.diverged_epoch for m in trained if m.diverged_epoch is not None}
    epochs = cohort.models[0].training.epochs
    tune.report({"model_epochs": epochs * len(cohort.models), "diverged": diverged})


def _teachers(cohort: Cohort, store: Store, dataset: Dataset) -> list[nn.Module]:
    """The trained network that each member is distilled from; none if they are not.

    A teacher that diverged gives no numbers, so that its students diverge at once, and are counted so.
    """
    ids = [model.teacher for model in cohort.models if model.teacher is not None]
    classes = len(dataset.class_names)
    return [load_network(store, load_config(store, teacher), dataset.image_shape, classes) for teacher in ids]


def _report(training: CohortTraining, clock: list[float]) -> None:
    """Tell Tune how far the cohort is, at most once a second: a report waits for the driver."""
    if time.monotonic() - clock[0] >= REPORT_SECONDS:
        clock[0] = time.monotonic()
        tune.report({"model_epochs": training.epoch * len(training.models)})


class _Watcher(tune.Callback):  # type: ignore[misc]
    """Drives the progress display and collects failures."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._done: dict[str, int] = {}
        self.failures: dict[str, str] = {}

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        interruption.check()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        done = result.get("model_epochs", 0)
        before = self._done.get(trial.trial_id, 0)
        self._done[trial.trial_id] = max(before, done)
        self._progress.advance(max(0, done - before))
        if "failure" in result:
            self._fail(trial, result["failure"])
        for model_id, epoch in result.get("diverged", {}).items():
            self._progress.say(
                f"{model_id} diverged: its loss is not finite from epoch {epoch} on; it is left out of the scores"
            )

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._fail(trial, "its process died and the retries are used up")

    def _fail(self, trial: Any, reason: str) -> None:
        cohort_id = trial.config["cohort_id"]
        self.failures[cohort_id] = reason
        self._progress.say(f"{cohort_id} failed: {reason}")
