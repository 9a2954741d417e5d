"""What a worker does, in whatever process; and the process of a command that is its own only worker, without Ray."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dbviz_ray.cluster import Evaluation, Training
from dbviz_ray.cluster.schedule import halves
from dbviz_ray.config import Cohort, ModelConfig, ResourcesConfig, SweepConfig
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.errors import StorageError, one_line
from dbviz_ray.evaluation.records import load_config, load_network, save_model, save_snapshot
from dbviz_ray.evaluation.work import Task, TaskRunner, draw_planes
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.store.lease import check_driver
from dbviz_ray.store.models import Outcome, WorkEnd
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import say
from dbviz_ray.training.allocations import keep_freed_memory, peak_memory, reset_peak_memory
from dbviz_ray.training.checkpoints import CohortCheckpoints
from dbviz_ray.training.cohort import CohortTraining, TrainedModel, train_cohort

CHOICES = "choices"
"""Folder of the data directory for what a node remembers of cohorts like those it has trained."""


def start_worker(device_has_gpu: bool, threads: int) -> torch.device:
    """Set threads and denormals of this process; returns its device. Every trial and evaluator starts with this."""
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)  # overfitted networks have denormal gradients, on which many CPUs are slow
    return torch.device("cuda" if device_has_gpu else "cpu")


def train_in_worker(
    cohort: Cohort,
    store: Store,
    resources: ResourcesConfig,
    facts: Mapping[str, Any],
    driver: str,
    tell: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Train a cohort; returns the last report, with its `WorkEnd`. `tell` gets a report after every epoch.

    `driver` is the token of the driver's lease. Raises only errors that a new process may avoid.
    """
    try:
        report = _train(cohort, store, resources, facts, driver, tell)
    except torch.OutOfMemoryError as error:
        report = {"end": WorkEnd(Outcome.OUT_OF_MEMORY, one_line(error))}
    except Exception as error:
        report = {"end": WorkEnd.of(error)}
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # for the trial beside this one
    return {"epoch": 0, "from_epoch": 0, **report}


def _train(
    cohort: Cohort,
    store: Store,
    resources: ResourcesConfig,
    facts: Mapping[str, Any],
    driver: str,
    tell: Callable[[dict[str, Any]], None],
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
    reports = _Reports(tell, from_epoch=epochs)
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
    """Tells of every epoch."""

    tell: Callable[[dict[str, Any]], None]
    from_epoch: int
    """The epoch from which this training continued; the last epoch until it has trained one."""
    remark: str = ""
    """See `CohortTraining.remark`."""

    def __call__(self, training: CohortTraining) -> None:
        self.remark = training.remark
        self.from_epoch = min(self.from_epoch, training.epoch - 1)
        self.tell({"epoch": training.epoch, "from_epoch": self.from_epoch})


class ThisProcess:
    """The `Workers` that are this process. A crash ends the command, so nothing is tried again but halved cohorts."""

    def train(self, training: Training) -> None:
        """See `Workers.train`."""
        while (cohort := training.schedule.next()) is not None:
            self._train(training, cohort)

    def _train(self, training: Training, cohort: Cohort) -> None:
        def tell(report: dict[str, int]) -> None:
            interruption.check()
            training.hear(cohort, report)

        try:
            resources = resources_here(training.resources)
            report = train_in_worker(cohort, training.store, resources, training.facts, training.driver, tell)
        except Exception as error:
            report = {"epoch": 0, "from_epoch": 0, "end": _end_of_device(error)}
        interruption.check()  # `tell` may have raised inside the training, which takes it for the training's own error
        training.hear(cohort, report)

    def evaluate(self, evaluation: Evaluation) -> Iterator[tuple[Task, WorkEnd]]:
        """See `Workers.evaluate`."""
        device = _evaluators_device(evaluation.resources)
        runner = TaskRunner(evaluation.store, evaluation.data, evaluation.resources.data_directory, device)
        while (task := evaluation.queue.take("")) is not None:
            try:
                end = runner.do(task, evaluation.work[task.what])
            except Exception as error:
                end = _end_of_device(error)
            interruption.check()
            yield task, end

    def draw(self, sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> None:
        """See `Workers.draw`."""
        draw_planes(sweep, store, plane_set, attacked, _evaluators_device(sweep.resources))


@contextmanager
def this_process(resources: ResourcesConfig) -> Iterator[ThisProcess]:
    """This process as workers; afterwards it computes as before.

    Ray's workers get their settings before torch is imported. All that is lost here is OMP_NUM_THREADS for libraries
    other than torch, which do no work in these stages.
    """
    if resources_here(resources) != resources:
        say("sweep", "torch finds no GPU on this machine; the CPU does the work")
    keep_freed_memory()
    threads = torch.get_num_threads()
    try:
        yield ThisProcess()
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def resources_here(resources: ResourcesConfig) -> ResourcesConfig:
    """The resources without GPUs if this machine has none."""
    if torch.cuda.is_available():
        return resources
    return resources.model_copy(update={"gpus_per_cohort": 0.0, "gpus_per_evaluator": 0.0})


def _evaluators_device(resources: ResourcesConfig) -> torch.device:
    return start_worker(resources_here(resources).gpus_per_evaluator > 0, resources.cpus_per_evaluator)


def _end_of_device(error: Exception) -> WorkEnd:
    """The end of all work after an error that only a new process may avoid."""
    return WorkEnd(Outcome.FAILED, f"only a new process can use the device again ({one_line(error)})", stops=True)
