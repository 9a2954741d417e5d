"""What a worker does, in whatever process; and the process of a command that is its own only worker, without Ray."""

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dbviz_ray.cluster import Job, Training
from dbviz_ray.cluster.schedule import TaskQueue, halves
from dbviz_ray.config import Cohort, ModelConfig, ResourcesConfig, SweepConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.errors import StorageError, one_line
from dbviz_ray.evaluation.records import load_config, load_network, save_model, save_snapshot
from dbviz_ray.evaluation.work import Task, TaskRunner, What, Work, draw_planes
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.store.models import Outcome, WorkEnd
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


def start_evaluator(resources: ResourcesConfig) -> torch.device:
    """The same for an evaluator."""
    return start_worker(resources.gpus_per_evaluator > 0, resources.cpus_per_evaluator)


def train_in_worker(cohort: Cohort, job: Job, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train a cohort; returns the last report, with its `WorkEnd`. `tell` gets a report after every epoch.

    Raises only errors that a new process may avoid.
    """
    try:
        report = _train(cohort, job, tell)
    except torch.OutOfMemoryError as error:
        report = {"end": WorkEnd(Outcome.OUT_OF_MEMORY, one_line(error))}
    except Exception as error:
        report = {"end": WorkEnd.of(error)}
    finally:
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()  # for the trial beside this one
    return {"epoch": 0, "from_epoch": 0, **report}


def _train(cohort: Cohort, job: Job, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train the missing models of a cohort; returns the last report."""
    store, resources = job.store, job.resources
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
    started, clock = time.monotonic(), time.time()
    from_epoch, remark = epochs, ""  # where this training continued: at the end until it has trained an epoch
    checkpoints = CohortCheckpoints(store, cohort)

    def on_epoch(training: CohortTraining) -> None:
        nonlocal from_epoch, remark
        from_epoch, remark = min(from_epoch, training.epoch - 1), training.remark
        tell({"epoch": training.epoch, "from_epoch": from_epoch})

    def keep(snapshots: list[TrainedModel]) -> None:
        for snapshot in snapshots:
            if snapshot.config.model_id not in complete:
                save_snapshot(store, snapshot, dataset)

    try:
        if cohort.models[0].training.command is not None:
            from dbviz_ray.cluster.by_command import train_by_command

            trained = [train_by_command(model, dataset, job, device) for model in cohort.models]
        else:
            # The outputs of a diverged teacher are not finite, so its students diverge at once and count as diverged.
            taught_by = [load_config(store, model.teacher) for model in cohort.models if model.teacher is not None]
            sizes = dataset.image_shape, len(dataset.class_names)
            trained = train_cohort(
                cohort.models,
                dataset,
                device,
                resources=resources,
                teachers=[load_network(store, teacher, *sizes) for teacher in taught_by],
                checkpoints=checkpoints,
                choices=Path(resources.data_directory).expanduser() / CHOICES,
                on_epoch=on_epoch,
                on_snapshot=keep,
            )
    except torch.OutOfMemoryError:
        if len(cohort.models) > 1:
            checkpoints.split(halves(cohort))
        raise
    seconds = time.monotonic() - started
    members = [model.model_id for model in cohort.models]
    facts = {**job.facts, "cohort_id": cohort.cohort_id, "cohort": members, "device": str(device), **peak_memory()}
    facts |= {"started": clock, "seconds": seconds}
    for model in trained:
        if not store.complete_among([model.config.model_id]):  # ask again: it may be complete by now
            save_model(store, model, dataset, facts)
    store.drop_cohort(cohort.cohort_id)
    diverged = {m.config.model_id: m.diverged_epoch for m in trained if m.diverged_epoch is not None}
    return {**report, "from_epoch": from_epoch, "diverged": diverged, "remark": checkpoints.remark or remark}


class ThisProcess:
    """The `Workers` that are this process. A crash ends the command, so nothing is tried again but halved cohorts."""

    def __init__(self, resources: ResourcesConfig) -> None:
        self._resources = resources

    def train(self, job: Job, training: Training) -> None:
        """See `Workers.train`."""
        job = replace(job, resources=self._resources)
        while (cohort := training.schedule.next()) is not None:
            hear = partial(training.hear, cohort)
            try:
                report = train_in_worker(cohort, job, hear)
            except Exception as error:
                report = {"epoch": 0, "from_epoch": 0, "end": _end_of_device(error)}
            hear(report)  # raises an interruption again that the training took for an error of its own

    def evaluate(self, job: Job, queue: TaskQueue, work: Mapping[What, Work]) -> Iterator[tuple[Task, WorkEnd]]:
        """See `Workers.evaluate`."""
        runner = TaskRunner(job.store, job.data, job.resources.data_directory, start_evaluator(self._resources))
        while (task := queue.take("")) is not None:
            try:
                end = runner.do(task, work[task.what])
            except Exception as error:
                end = _end_of_device(error)
            yield task, end

    def draw(self, sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> None:
        """See `Workers.draw`."""
        draw_planes(sweep, store, plane_set, attacked, start_evaluator(self._resources))


@contextmanager
def this_process(resources: ResourcesConfig) -> Iterator[ThisProcess]:
    """This process as workers; afterwards it computes as before.

    Ray's workers get their settings before torch is imported. All that is lost here is OMP_NUM_THREADS for libraries
    other than torch, which do no work in these stages.
    """
    if not torch.cuda.is_available() and (resources.gpus_per_cohort or resources.gpus_per_evaluator):
        say("sweep", "torch finds no GPU on this machine; the CPU does the work")
        resources = resources.model_copy(update={"gpus_per_cohort": 0.0, "gpus_per_evaluator": 0.0})
    keep_freed_memory()
    threads = torch.get_num_threads()
    try:
        yield ThisProcess(resources)
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)


def _end_of_device(error: Exception) -> WorkEnd:
    """The end of all work after an error that only a new process may avoid."""
    return WorkEnd(Outcome.FAILED, f"only a new process can use the device again ({one_line(error)})", stops=True)
