"""A Ray Tune trial in its worker process: trains one cohort and reports how it ended."""

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ray import tune
from torch import nn

from dbviz_ray.cluster.nodes import this_node
from dbviz_ray.cluster.schedule import halves
from dbviz_ray.cluster.session import start_worker
from dbviz_ray.config import Cohort, ModelConfig, ResourcesConfig
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.errors import StorageError, one_line
from dbviz_ray.evaluation.records import load_config, load_network, save_model, save_snapshot
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.store.lease import check_driver
from dbviz_ray.store.models import Outcome, WorkEnd
from dbviz_ray.training.allocations import peak_memory, reset_peak_memory
from dbviz_ray.training.checkpoints import CohortCheckpoints
from dbviz_ray.training.cohort import CohortTraining, TrainedModel, train_cohort

REPORT_SECONDS = 1.0
CHOICES = "choices"
"""Folder of the data directory for what a node remembers of cohorts like those it has trained."""


def train_in_trial(
    config: Mapping[str, Any],
    store: Store,
    models: Mapping[str, ModelConfig],
    resources: ResourcesConfig,
    facts: Mapping[str, Any],
    driver: str,
) -> None:
    """Train the cohort of `config["members"]`; the last report gives its `WorkEnd`.

    `driver` is the token of the driver's lease. Raises only errors that a new process may avoid: Tune then ends the
    trial, and the schedule decides whether to try again.
    """
    cohort = Cohort(models=tuple(models[model_id] for model_id in config["members"]))
    node = this_node()
    try:
        report = _train(cohort, store, resources, facts, driver, node)
    except torch.OutOfMemoryError as error:
        report = {"end": WorkEnd(Outcome.OUT_OF_MEMORY, one_line(error))}
    except Exception as error:
        report = {"end": WorkEnd.of(error)}
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # for the trial beside this one
    tune.report({"epoch": 0, "from_epoch": 0, "node": node, **report})


def _train(
    cohort: Cohort, store: Store, resources: ResourcesConfig, facts: Mapping[str, Any], driver: str, node: str
) -> dict[str, Any]:
    """Train the missing models of a cohort; returns the last report."""
    epochs = cohort.models[0].training.epochs
    report = {"end": WorkEnd(Outcome.DONE), "epoch": epochs, "from_epoch": epochs}
    if not store.exists(SWEEP_FILE):
        raise StorageError(
            f"{store.root} of the driver is not visible on node {platform.node()}; --out must be a folder that all "
            "nodes share, or an object store such as s3://bucket/prefix"
        )
    complete = store.complete_among(model.model_id for model in cohort.models)
    if len(complete) == len(cohort.models):  # another driver, or a worker of a killed one, was faster
        return report
    reset_peak_memory()
    device = start_worker(resources.gpus_per_cohort > 0, resources.cpus_per_cohort)
    dataset = load_dataset(cohort.models[0].dataset, resources.data_directory)
    started = time.monotonic()
    check = partial(check_driver, store, driver)
    reports = _Reports(node, started, from_epoch=epochs)
    checkpoints = CohortCheckpoints(store, cohort, before_saving=check)

    def keep(snapshots: list[TrainedModel]) -> None:
        check()
        for snapshot in snapshots:
            if snapshot.config.model_id not in complete:
                save_snapshot(store, snapshot, dataset)

    try:
        trained = train_cohort(
            cohort.models,
            dataset,
            device,
            resources=resources,
            teachers=_teachers(cohort, store, dataset),
            checkpoints=checkpoints,
            choices=Path(resources.data_directory).expanduser() / CHOICES,
            on_epoch=reports,
            on_snapshot=keep,
        )
    except torch.OutOfMemoryError:
        if len(cohort.models) > 1:
            checkpoints.split(halves(cohort))
        raise
    facts = {
        **facts,
        "cohort_id": cohort.cohort_id,
        "device": str(device),
        "seconds": time.monotonic() - started,
        **peak_memory(),
    }
    for model in trained:
        check()
        if not store.complete_among([model.config.model_id]):  # ask again: it may be complete by now
            save_model(store, model, dataset, facts)
    check()
    store.drop_cohort(cohort.cohort_id)
    diverged = {m.config.model_id: m.diverged_epoch for m in trained if m.diverged_epoch is not None}
    return {
        **report,
        "from_epoch": reports.from_epoch,
        "diverged": diverged,
        "remark": checkpoints.remark or reports.remark,
    }


def _teachers(cohort: Cohort, store: Store, dataset: Dataset) -> Sequence[nn.Module]:
    """The teacher of each member; empty without distillation.

    The outputs of a diverged teacher are not finite, so its students diverge at once and count as diverged.
    """
    ids = [model.teacher for model in cohort.models if model.teacher is not None]
    classes = len(dataset.class_names)
    return [load_network(store, load_config(store, teacher), dataset.image_shape, classes) for teacher in ids]


@dataclass
class _Reports:
    """Reports progress to Tune, at most once a second, since every report waits for the driver."""

    node: str
    last: float
    """Time of the last report."""
    from_epoch: int
    """The epoch from which this training continued; the last epoch until it has trained one."""
    remark: str = ""
    """See `CohortTraining.remark`."""

    def __call__(self, training: CohortTraining) -> None:
        self.remark = training.remark
        self.from_epoch = min(self.from_epoch, training.epoch - 1)
        if time.monotonic() - self.last >= REPORT_SECONDS:
            self.last = time.monotonic()
            tune.report({"epoch": training.epoch, "from_epoch": self.from_epoch, "node": self.node})
