"""What training leaves: models and where they come from, cohorts in training, failures, and how work can end."""

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from dbviz_ray.errors import DamagedFileError, StageFailedError, StorageError, UserError, one_line
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.layout import COHORT_MEMBERS, COHORTS, FAILURES, MODEL, MODELS, PREDICTIONS, Layout, owner_of
from dbviz_ray.store.seals import UNSEALED, sealed
from dbviz_ray.terminal import interruption


class Outcome(StrEnum):
    """How the training or the evaluation of a model ended."""

    DONE = "done"
    DIVERGED = "diverged"
    """Trained, but its loss is not finite. Never tried again, since it would diverge again."""
    PREEMPTED = "preempted"
    """Its machine was lost. Tried again without limit."""
    CRASHED = "crashed"
    """Its process died, but its machine lives. Tried again `resources.retries` times."""
    OUT_OF_MEMORY = "out of memory"
    """Its cohort did not fit into the memory of its GPU. Tried again in halves, down to single models."""
    FAILED = "failed"
    """An error that would recur. The next command tries again, this one does not."""
    BAD_CONFIGURATION = "bad configuration"
    """Like `FAILED`, but the user can correct it."""


@dataclass(frozen=True)
class WorkEnd:
    """How work on one model, or on a cohort, ended in its worker."""

    outcome: Outcome
    reason: str = ""
    damaged: DamagedFileError | None = None
    """A file that must be remade before the work can be done."""
    stops: bool = False
    """Whether all other work would fail in the same way."""

    @classmethod
    def of(cls, error: Exception) -> Self:
        """The end of work that raised `error`. Raises it again if it would not recur in a new process."""
        if isinstance(error, StorageError):
            return cls(Outcome.FAILED, str(error), stops=True)
        if isinstance(error, DamagedFileError):
            return cls(Outcome.FAILED, str(error), damaged=error)
        if CUDA_ERROR in str(error):
            raise error
        outcome = Outcome.BAD_CONFIGURATION if isinstance(error, UserError) else Outcome.FAILED
        return cls(outcome, one_line(error, with_type=True))


CUDA_ERROR = "CUDA error"
"""Marks error messages after which only a new process can use the GPU."""


@dataclass(frozen=True)
class Failure:
    """Why a sweep continues without a model."""

    model_id: str
    stage: str
    """The stage that failed: train or evaluate."""
    outcome: Outcome
    reason: str
    """One line."""


_FAILURES = TypeAdapter(Failure)


class ModelFiles(Directory, Layout):
    """Models, cohorts and failures in a run directory."""

    def complete_models(self) -> set[str]:
        """model_id of every trained model, in one listing."""
        return {owner_of(name) for name in self.files(MODELS, MODEL)}

    def complete_among(self, model_ids: Iterable[str]) -> set[str]:
        """The trained models among `model_ids`; one request each, and no listing of the whole run."""
        return {model_id for model_id in model_ids if self.exists(self.model_file(model_id, MODEL))}

    @cached_property
    def _seals(self) -> dict[str, Mapping[str, str]]:
        return {}

    def read_json(self, name: str) -> dict[str, Any]:
        """See `Directory.read_json`. A `model.json` that was copied from another model counts as damaged."""
        content = super().read_json(name)
        if name.startswith(f"{MODELS}/") and content.get("model_id", owner_of(name)) != owner_of(name):
            raise DamagedFileError(name, self.path(name), "it is of another model")
        return content

    def seals_of_model(self, model_id: str) -> Mapping[str, str]:
        """The seal of each of a model's files when the model was complete, by name; empty if that is not known."""
        if model_id not in self._seals:
            try:
                seals = self.read_json(self.model_file(model_id, MODEL)).get("seals")
            except (FileNotFoundError, NotADirectoryError, DamagedFileError):
                return {}  # not complete; who reads its configuration is told
            self._seals[model_id] = seals if isinstance(seals, dict) else {}
        return self._seals[model_id]

    def _wanted_seal(self, name: str) -> str:
        """Of a model's files the seal that `model.json` has."""
        in_model = name.startswith(f"{MODELS}/") and not name.endswith(MODEL)
        return self.seals_of_model(owner_of(name)).get(name, "") if in_model else ""

    def read_predictions(self, model_id: str, epoch: int | None = None) -> pa.Table:
        """Given label, true label and predicted class of every image, after `epoch` (see `model_file`).

        DamagedFileError if the file is missing, since the model is complete.
        """
        file = self.model_file(model_id, PREDICTIONS, epoch)
        try:
            return self.read_parquet(file)[0]
        except FileNotFoundError:
            raise DamagedFileError(file, self.path(file), "it is missing") from None

    def write_cohort_members(self, cohort_id: str, model_ids: Sequence[str]) -> None:
        """Record the members of a cohort whose training state is stored, in its order."""
        self.write_json(self.cohort_file(cohort_id, COHORT_MEMBERS), {"models": list(model_ids)})

    def begun_cohorts(self) -> dict[str, list[str]]:
        """model_ids of the members of every cohort whose training was begun and not finished, by cohort_id."""
        begun = {}
        for name in self.files(COHORTS, COHORT_MEMBERS):
            try:
                begun[owner_of(name)] = [str(model_id) for model_id in self.read_json(name)["models"]]
            except (FileNotFoundError, DamagedFileError, KeyError, TypeError):
                continue  # its training starts over
        return begun

    def drop_cohort(self, cohort_id: str) -> None:
        """Delete the training state of a cohort whose models are complete."""
        self.remove_folder(f"{COHORTS}/{cohort_id}")

    def read_tensors(self, name: str) -> dict[str, Any]:
        """The torch tensors of a safetensors file. DamagedFileError if it is not one."""
        import safetensors.torch  # imports torch

        return self.read_as(name, safetensors.torch.load)

    def write_tensors(self, name: str, tensors: Mapping[str, Any]) -> None:
        """Store torch tensors in a safetensors file."""
        import safetensors.torch

        self.write(name, sealed(safetensors.torch.save(dict(tensors), UNSEALED)))

    def failures(self) -> dict[str, Failure]:
        """Failed models, by model_id. Damaged files are ignored, so their models are tried again."""
        found = {}
        for name in self.files(FAILURES, ".json"):
            try:
                failure = _FAILURES.validate_python(self.read_json(name))
            except (FileNotFoundError, DamagedFileError, ValidationError):
                continue
            if name == self.failure_file(failure.model_id):
                found[failure.model_id] = failure
        return found

    def write_failure(self, failure: Failure) -> None:
        """Record why a model failed."""
        self.write_json(self.failure_file(failure.model_id), asdict(failure))

    def forget_failures(self, model_ids: Iterable[str]) -> None:
        """Delete the records of models that are tried again."""
        for model_id in model_ids:
            self.remove(self.failure_file(model_id))


def settle(
    stage: str, store: ModelFiles, failures: Iterable[Failure], damaged: DamagedFileError | None, stopped: str | None
) -> None:
    """Record the failures of a stage. Raises DamagedFileError or StageFailedError if the sweep cannot go on.

    `damaged` must be remade before the rest can be done; `stopped` tells why the rest did not start, None if it did.
    """
    interruption.check()
    if damaged is not None:
        raise damaged
    if stopped is not None:
        raise StageFailedError(f"{stage}: {stopped}. Finished work is kept; the same command does the rest")
    for failure in failures:
        store.write_failure(failure)


PACKAGES = ("dbviz-ray", "torch", "torchvision", "numpy", "ray", "pyarrow")


@lru_cache(maxsize=1)
def provenance() -> dict[str, str]:
    """Library versions, Python, platform and, in a git checkout, the commit and whether the tree differs from it."""
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts | _git()


def _git() -> dict[str, str]:
    """The commit and the state of the checkout, or what git says instead; nothing outside of a checkout."""
    file = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        command, said = ["git", "-C", str(file.parent), *arguments], os.environ | {"LC_ALL": "C"}
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10, env=said).stdout.strip()

    try:
        if not git("ls-files", "--", file.name):  # installed inside somebody else's checkout
            return {}
        changed = git("status", "--porcelain", "--untracked-files=no")
        return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": str(bool(changed)).lower()}
    except subprocess.CalledProcessError as error:  # such as a checkout that belongs to somebody else
        told = error.stderr.strip().partition("\n")[0]
        return {} if "not a git repository" in told else {"git_refused": told}
    except (OSError, subprocess.SubprocessError):
        return {}
