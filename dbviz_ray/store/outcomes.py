"""How work on a model can end, and what that means for the next try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.terminal import interruption

if TYPE_CHECKING:
    from dbviz_ray.store.models import ModelFiles


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


def settle(stage: str, store: ModelFiles, ended: StageEnd) -> None:
    """Record the failures of a stage. Raises DamagedFileError or StoppedError if the sweep cannot go on."""
    interruption.check()
    if ended.damaged is not None:
        raise ended.damaged
    if ended.stopped is not None:
        raise StoppedError(f"{stage}: {ended.stopped}. What is done is kept; the same command does the rest")
    for failure in ended.failures.values():
        store.write_failure(failure)
