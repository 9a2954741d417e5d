"""Files of models, of cohorts in training, and of models that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import yaml
from pydantic import ValidationError

from dbviz_ray.config import SweepConfig, differing_fields
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.files import partition
from dbviz_ray.store.outcomes import Failure

WEIGHTS, PREDICTIONS, MODEL = "weights.safetensors", "predictions.parquet", "model.json"


class ModelFiles(Directory):
    """What training leaves."""

    def complete_models(self) -> set[str]:
        """model_id of every trained model."""
        return {name.split("/")[1] for name in self.files("models", "model.json")}

    def complete_among(self, model_ids: Iterable[str]) -> set[str]:
        """Those of some models that are trained: a request each, however many others there are."""
        return {model_id for model_id in model_ids if self.exists(self.model_file(model_id, "model.json"))}

    def model_file(self, model_id: str, file: str) -> str:
        """Name of one of a model's files."""
        return f"models/{model_id}/{file}"

    def snapshot_file(self, model_id: str, epoch: int, file: str) -> str:
        """Name of one of the files that tell what a model was after an epoch before its last."""
        return self.model_file(model_id, f"snapshots/{partition('epoch', epoch)}/{file}")

    def kept_file(self, model_id: str, file: str, epoch: int | None) -> str:
        """Name of one of a model's files after `epoch`, an earlier one than its last, or after its last (None)."""
        return self.model_file(model_id, file) if epoch is None else self.snapshot_file(model_id, epoch, file)

    def read_predictions(self, model_id: str, epoch: int | None = None) -> pa.Table:
        """Given label, true label and predicted class of every image, after `epoch` (see `kept_file`).

        DamagedFileError if the file is missing, since the model is complete.
        """
        file = self.kept_file(model_id, PREDICTIONS, epoch)
        try:
            return self.read_parquet(file)[0]
        except FileNotFoundError:
            raise DamagedFileError(file, self.path(file), "it is missing") from None

    def cohort_state_file(self, cohort_id: str) -> str:
        """Name of a cohort's training state."""
        return f"cohorts/{cohort_id}/state.safetensors"

    def write_cohort_members(self, cohort_id: str, model_ids: Sequence[str]) -> None:
        """Name the members of a cohort whose training state is kept, in its order."""
        self.write_json(f"cohorts/{cohort_id}/cohort.json", {"models": list(model_ids)})

    def begun_cohorts(self) -> dict[str, list[str]]:
        """model_ids of the members of every cohort whose training was begun and not finished, by cohort_id."""
        begun = {}
        for name in self.files("cohorts", "cohort.json"):
            try:
                members = [str(model_id) for model_id in self.read_json(name)["models"]]
            except (FileNotFoundError, DamagedFileError, KeyError, TypeError):
                continue  # as good as not begun
            begun[name.split("/")[1]] = members
        return begun

    def drop_cohort(self, cohort_id: str) -> None:
        """Forget the training state of a cohort whose models are complete."""
        self.remove_folder(f"cohorts/{cohort_id}")

    def read_tensors(self, name: str) -> dict[str, Any]:
        """The torch tensors of a safetensors file. DamagedFileError if it cannot be made out."""
        import safetensors.torch  # imports torch

        try:
            return safetensors.torch.load(self.read(name))
        except (safetensors.SafetensorError, KeyError, RuntimeError) as error:  # types and shapes that torch has not
            raise DamagedFileError(name, self.path(name), one_line(error)) from None

    def failures(self) -> dict[str, Failure]:
        """Why the sweep has to do without some models, by model_id."""
        found = {}
        for name in self.files("failures", ".json"):
            try:
                failure = Failure.of_facts(self.read_json(name))
            except (FileNotFoundError, DamagedFileError, KeyError, ValueError):
                continue  # as good as none: the model is tried again
            if name == _failure_file(failure.model_id):
                found[failure.model_id] = failure
        return found

    def write_failure(self, failure: Failure) -> None:
        """Record that the sweep has to do without a model."""
        self.write_json(_failure_file(failure.model_id), failure.facts())

    def forget_failures(self, model_ids: Iterable[str]) -> None:
        """Before models are tried again."""
        for model_id in model_ids:
            self.remove(_failure_file(model_id))


def _failure_file(model_id: str) -> str:
    return f"failures/{model_id}.json"


SWEEP_FILE = "sweep.yaml"


class OwnedDirectory(Directory):
    """A directory of one sweep."""

    def claim(self, sweep: SweepConfig) -> None:
        """Make this directory `sweep`'s, or check that it is. UserError if it is another's or not writable."""
        text = yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False)
        self.check_owner(sweep)
        try:
            self.write(SWEEP_FILE, text.encode())
        except OSError as error:
            raise UserError(f"--out: {self.root} cannot be written ({one_line(error)})") from None

    def check_owner(self, sweep: SweepConfig) -> None:
        """UserError if the directory holds a sweep whose results would differ from those of `sweep`."""
        try:
            owner = self._owner()
        except (FileNotFoundError, NotADirectoryError):
            self._check_empty()
            return
        except UserError as error:
            raise UserError(f"--out: {error}") from None
        identity = sweep.identity()
        stored = _with_defaults(owner)
        fields = list(differing_fields({key: stored.get(key) for key in identity}, identity))
        if fields:
            named = ", ".join(fields[:4]) + (", ..." if len(fields) > 4 else "")
            name = owner.get("name") if isinstance(owner.get("name"), str) else "without a name"
            raise UserError(
                f"--out: {self.root} belongs to a different sweep ({name}: {named} differ); "
                "allowed: an empty directory, or the same sweep"
            )

    def sweep(self) -> SweepConfig:
        """The sweep whose directory this is. UserError if it is none's."""
        try:
            return validated(SweepConfig, self._owner())
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{self.root}: holds no {SWEEP_FILE}; allowed: a run directory of a sweep") from None

    def _owner(self) -> dict[str, Any]:
        try:
            owner = yaml.safe_load(self.read(SWEEP_FILE))
        except (FileNotFoundError, NotADirectoryError):
            raise
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"{self.path(SWEEP_FILE)} cannot be read ({one_line(error)})") from None
        if not isinstance(owner, dict):
            raise UserError(f"{self.path(SWEEP_FILE)} is damaged; delete it if the directory is this sweep's")
        return owner

    def _check_empty(self) -> None:
        try:
            in_use = self.holds_anything()
        except NotADirectoryError:
            raise UserError(f"--out: {self.root} is a file; allowed: a directory") from None
        if in_use:
            raise UserError(
                f"--out: {self.root} holds files but no {SWEEP_FILE}, so it is not a run directory; "
                "allowed: an empty directory, or one that a sweep made"
            )


def _with_defaults(owner: dict[str, Any]) -> dict[str, Any]:
    """A stored sweep with the fields that sweeps have got since then."""
    try:
        return SweepConfig.model_validate(owner).identity()
    except ValidationError:
        return owner
