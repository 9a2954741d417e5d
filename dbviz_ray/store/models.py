"""Files of models, of cohorts in training, and of models that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from dbviz_ray.errors import DamagedFileError, one_line
from dbviz_ray.outcomes import Failure
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.partitions import partition


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
