"""What training leaves: models, cohorts in training, and models that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from dbviz_ray.errors import DamagedFileError, one_line
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
from dbviz_ray.store.outcomes import Failure


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
