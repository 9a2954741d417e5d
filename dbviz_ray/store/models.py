"""What training leaves: models, cohorts in training, failures, and how work on a model can end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

import pyarrow as pa

from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.layout import (
    COHORT_MEMBERS,
    COHORTS,
    FAILURES,
    MODEL,
    MODELS,
    PREDICTIONS,
    Layout,
    owner_of,
)
from dbviz_ray.terminal import interruption


class Outcome(StrEnum):
    """How the training or the evaluation of a model ended."""

    DONE = "done"
    DIVERGED = "diverged"
    """Trained, but to no use: its loss is not finite. Never tried again, since it would come again."""
    PREEMPTED = "preempted"
    """Its machine vanished. Tried again without end."""
    CRASHED = "crashed"
    """Its process died, and its machine did not. Tried again `resources.retries` times."""
    OUT_OF_MEMORY = "out of memory"
    """Its cohort did not fit into the memory of its GPU. Tried again in halves, until it is alone."""
    FAILED = "failed"
    """An error that would come again. Not tried again by this command; the next one does."""
    BAD_CONFIGURATION = "bad configuration"
    """As `FAILED`, and the user's to mend."""


CUDA_ERROR = "CUDA error"
"""In messages after which a process is of no more use, and a new one may be."""


class StoppedError(Exception):
    """The rest of a stage would fail as well, so that it was not started."""


@dataclass(frozen=True)
class Failure:
    """Why a sweep has to do without a model."""

    model_id: str
    stage: str
    """train or evaluate."""
    outcome: Outcome
    reason: str
    """One line."""

    def facts(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> Failure:
        """What `facts` gave. KeyError or ValueError if it is something else."""
        texts = {name: str(facts[name]) for name in ("model_id", "stage", "reason")}
        return cls(outcome=Outcome(facts["outcome"]), **texts)


def outcome_of(error: BaseException) -> Outcome:
    """What an exception raised by work on a model makes of it."""
    return Outcome.BAD_CONFIGURATION if isinstance(error, UserError) else Outcome.FAILED


@dataclass(frozen=True)
class StageEnd:
    """How a stage's work on models ended."""

    failures: Mapping[str, Failure] = field(default_factory=dict)
    """By model_id."""
    trained_on: Mapping[str, str] = field(default_factory=dict)
    """The node on which a model was trained just now, by model_id."""
    damaged: DamagedFileError | None = None
    """A file that must be made again before the rest can be done."""
    stopped: str | None = None
    """Why the rest was not even started, if so."""


class ModelFiles(Directory, Layout):
    """Models, cohorts and failures in a run directory."""

    def complete_models(self) -> set[str]:
        """model_id of every trained model; one listing."""
        return {owner_of(name) for name in self.files(MODELS, MODEL)}

    def complete_among(self, model_ids: Iterable[str]) -> set[str]:
        """Those of `model_ids` that are trained; one request each, however many models there are."""
        return {model_id for model_id in model_ids if self.exists(self.model_file(model_id, MODEL))}

    def read_predictions(self, model_id: str, epoch: int | None = None) -> pa.Table:
        """Given label, true label and predicted class of every image, after `epoch` (see `kept_file`).

        DamagedFileError if the file is missing, since the model is complete.
        """
        file = self.kept_file(model_id, PREDICTIONS, epoch)
        try:
            return self.read_parquet(file)[0]
        except FileNotFoundError:
            raise DamagedFileError(file, self.path(file), "it is missing") from None

    def write_cohort_members(self, cohort_id: str, model_ids: Sequence[str]) -> None:
        """Record the members of a cohort whose training state is stored, in its order."""
        self.write_json(f"{self.cohort_folder(cohort_id)}/{COHORT_MEMBERS}", {"models": list(model_ids)})

    def begun_cohorts(self) -> dict[str, list[str]]:
        """model_ids of the members of every cohort whose training was begun and not finished, by cohort_id."""
        begun = {}
        for name in self.files(COHORTS, COHORT_MEMBERS):
            try:
                begun[owner_of(name)] = [str(model_id) for model_id in self.read_json(name)["models"]]
            except (FileNotFoundError, DamagedFileError, KeyError, TypeError):
                continue  # its training starts again
        return begun

    def drop_cohort(self, cohort_id: str) -> None:
        """Delete the training state of a cohort whose models are complete."""
        self.remove_folder(self.cohort_folder(cohort_id))

    def read_tensors(self, name: str) -> dict[str, Any]:
        """The torch tensors of a safetensors file. DamagedFileError if it is none."""
        import safetensors.torch  # imports torch

        try:
            return safetensors.torch.load(self.read(name))
        except (safetensors.SafetensorError, KeyError, RuntimeError) as error:  # a type or shape that torch lacks
            raise DamagedFileError(name, self.path(name), one_line(error)) from None

    def failures(self) -> dict[str, Failure]:
        """The models that are left out, by model_id. A damaged file counts as none: the model is tried again."""
        found = {}
        for name in self.files(FAILURES, ".json"):
            try:
                failure = Failure.of_facts(self.read_json(name))
            except (FileNotFoundError, DamagedFileError, KeyError, ValueError):
                continue
            if name == self.failure_file(failure.model_id):
                found[failure.model_id] = failure
        return found

    def write_failure(self, failure: Failure) -> None:
        """Record why a model is left out."""
        self.write_json(self.failure_file(failure.model_id), failure.facts())

    def forget_failures(self, model_ids: Iterable[str]) -> None:
        """Delete the records of models that are tried again."""
        for model_id in model_ids:
            self.remove(self.failure_file(model_id))


def settle(stage: str, store: ModelFiles, ended: StageEnd) -> None:
    """Record the failures of a stage. Raises DamagedFileError or StoppedError if the sweep cannot go on."""
    interruption.check()
    if ended.damaged is not None:
        raise ended.damaged
    if ended.stopped is not None:
        raise StoppedError(f"{stage}: {ended.stopped}. What is done is kept; the same command does the rest")
    for failure in ended.failures.values():
        store.write_failure(failure)
