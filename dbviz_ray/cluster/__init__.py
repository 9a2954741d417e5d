"""Where the work of a sweep is done: on a Ray cluster (`Session`), or in the process of the command (`ThisProcess`).

Training and evaluation know of neither. Stages ask `Workers`, and learn here how the work ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from dbviz_ray.cluster.schedule import CohortSchedule, NodeIsLost, TaskQueue
from dbviz_ray.config import Cohort, ModelConfig, ResourcesConfig, SweepConfig
from dbviz_ray.errors import DamagedFileError
from dbviz_ray.evaluation.work import Task, What, Work
from dbviz_ray.store import Store
from dbviz_ray.store.models import Outcome, WorkEnd
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Progress

if TYPE_CHECKING:
    from dbviz_ray.datasets import DatasetFacts

ALONE = "none"
"""The address of no cluster: the command does all work itself."""

TRIED_AGAIN = {
    Outcome.PREEMPTED: "is started again: its machine has gone",
    Outcome.CRASHED: "is started again: its process died",
    Outcome.OUT_OF_MEMORY: "does not fit into the memory of its GPU and is halved",
}


@dataclass(frozen=True)
class Job:
    """What the workers of a sweep need to know."""

    store: Store
    data: DatasetFacts
    resources: ResourcesConfig
    facts: Mapping[str, Any]
    """Stored with every model."""
    folder: Path
    """The present folder of the command, where a user's own scripts are; workers stand elsewhere."""


class Workers(Protocol):
    """Do the work of the stages train and evaluate. Every file is written whole, so repeated work is harmless."""

    def train(self, job: Job, training: Training) -> None:
        """Train the cohorts of `training.schedule` until it has finished; `training` hears of epochs and ends."""

    def evaluate(self, job: Job, queue: TaskQueue, work: Mapping[What, Work]) -> Iterator[tuple[Task, WorkEnd]]:
        """Do the tasks of `queue` with their `work`; gives each and how it ended, in the order of their ends."""

    def draw(self, sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> None:
        """Draw and store planes that need a model's gradients. UserError, DamagedFileError or StorageError."""


@dataclass
class Training:
    """The cohorts that workers train: which is next, and how they ended."""

    schedule: CohortSchedule
    progress: Progress
    trained_on: dict[str, str] = field(default_factory=dict)
    """The node that trained a model just now, by model_id; empty without nodes."""
    damaged: DamagedFileError | None = None
    """A file that must be remade before the rest can be done."""
    _said: set[str] = field(default_factory=set)

    def hear(self, cohort: Cohort, report: Mapping[str, Any], node_is_lost: NodeIsLost = lambda: False) -> None:
        """Take a report of `train_in_worker`; the last one also ends the cohort."""
        interruption.check()
        for model in cohort.models:
            self.progress.reach(model.model_id, report["from_epoch"], found=True)
            self.progress.reach(model.model_id, report["epoch"])
        if "end" not in report:
            return
        for model_id, epoch in report.get("diverged", {}).items():
            self.progress.say(
                f"{model_id} diverged: its loss is not finite from epoch {epoch} on; it is left out of the scores"
            )
        remark = report.get("remark")
        if remark and remark not in self._said:  # many cohorts may have the same
            self._said.add(remark)
            self.progress.say(remark)
        end: WorkEnd = report["end"]
        if end.outcome is Outcome.DONE and "node" in report:
            self.trained_on.update({model.model_id: report["node"] for model in cohort.models})
        self.damaged = end.damaged or self.damaged
        if end.stops:
            self.schedule.stop(end.reason)
        outcome = self.schedule.ended(cohort, end.outcome, end.reason, node_is_lost)
        failures = self.schedule.failures
        for model_id in failures:
            self.progress.fail(model_id)
        if cohort.models[0].model_id in failures:
            self.progress.say(f"{cohort.cohort_id} failed ({outcome}): {end.reason}")
        elif outcome in TRIED_AGAIN:
            self.progress.say(f"{cohort.cohort_id} {TRIED_AGAIN[outcome]}")
