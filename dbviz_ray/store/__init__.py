"""The run directory of a sweep: whole files, one owner, one driver. `layout` names its files."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from dbviz_ray.config import SweepConfig, differing_fields
from dbviz_ray.config.sweep_files import loaded_yaml
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import DamagedFileError, StorageError, UserError, one_line
from dbviz_ray.formatting import listed
from dbviz_ray.store.evaluations import PLANES_TOGETHER, EvaluationFiles, Labels, Picture, PictureKey, StoredMargins
from dbviz_ray.store.layout import (
    COHORTS,
    EVALUATIONS,
    FAILURES,
    FIGURES,
    FIGURES_RECORD,
    FINDINGS_FILE,
    MODEL,
    MODELS,
    PICTURES,
    PLANES,
    PROBABILITIES,
    REPORT_FILE,
    SCORES,
    SWEEP_FILE,
    TABLES_RECORD,
    folder_of,
    owner_of,
    partitions_of,
)
from dbviz_ray.store.seals import digest_of

__all__ = [
    "FINDINGS_FILE", "PLANES_TOGETHER", "REPORT_FILE", "SWEEP_FILE", "Labels", "Picture", "PictureKey", "Store",
    "StoredMargins",
]  # fmt: skip


class _DamagedSweepError(UserError):
    """`sweep.yaml` was read and holds no sweep."""


class Store(EvaluationFiles):
    """The run directory of one sweep."""

    def claim(self, sweep: SweepConfig, lost: bool = False) -> None:
        """Make this the directory of `sweep`. UserError if it belongs to another sweep or cannot be written.

        If it has `lost` its sweep (`check_owner`), the models stay, and all that was made from them goes: nobody knows
        any more with which settings.
        """
        text = yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False)
        self.check_owner(sweep)
        try:
            for folder in (PLANES, *EVALUATIONS, SCORES) if lost else ():
                self.remove_folder(folder)
            self.write(SWEEP_FILE, text.encode())
        except OSError as error:
            raise UserError("--out", self.root, reason=f"cannot be written ({one_line(error)})") from None

    def check_owner(self, sweep: SweepConfig) -> bool:
        """UserError if the directory belongs to a sweep that cannot become this one, or holds files but no sweep.

        Returns whether it has lost its sweep: `sweep.yaml` is absent or damaged, but all models are of this one.
        """
        try:
            owner = self._owner()
        except (FileNotFoundError, NotADirectoryError):
            if self._holds_models_of(sweep):
                return True
            if self.holds_anything():
                reason = f"holds files but no {SWEEP_FILE}, so it is not a run directory"
                allowed = "an empty directory, or one that a sweep made"
                raise UserError("--out", self.root, reason=reason, allowed=allowed) from None
            return False
        except UserError as error:
            if not isinstance(error, _DamagedSweepError) or not self._holds_models_of(sweep):
                raise error.renamed(lambda file: f"--out: {file}") from None
            return True
        try:
            fields = sweep.differs_from(SweepConfig.model_validate(owner))  # with defaults for fields added later
        except ValidationError:
            identity = sweep.identity()
            fields = list(differing_fields({key: owner.get(key) for key in identity}, identity))
        if fields:
            name = owner.get("name") if isinstance(owner.get("name"), str) else "without a name"
            reason = f"belongs to a different sweep ({name}: {listed(fields, 4)} differ)"
            allowed = "an empty directory, the same sweep, or one with more models or plane sets"
            raise UserError("--out", self.root, reason=reason, allowed=allowed)
        return False

    def _holds_models_of(self, sweep: SweepConfig) -> bool:
        """Whether there are models, and all of them are of this sweep."""
        try:
            there = self.complete_models()
        except (NotADirectoryError, StorageError):  # whoever asks has met the same
            return False
        return bool(there) and there <= {model.model_id for model in sweep.models()}

    def sweep(self) -> SweepConfig:
        """The sweep of this directory. UserError if there is none."""
        try:
            return validated(SweepConfig, self._owner())
        except (FileNotFoundError, NotADirectoryError):
            reason = f"holds no {SWEEP_FILE}"
            raise UserError(self.root, reason=reason, allowed="a run directory of a sweep") from None

    def remove_leftovers(self) -> None:
        """Delete temporary files of killed writers; object stores have none."""
        if self.is_local:
            for path in Path(self.root).rglob(".*.tmp"):
                path.unlink(missing_ok=True)

    def damaged_files(self, folders: Iterable[str]) -> list[DamagedFileError]:
        """The damage in `folders`, such as "models"; reads every file."""
        names = (name for folder in folders for name in self._written(folder))
        return [error for error in map(self._damage, names) if error is not None]

    def verified(self) -> Iterator[tuple[str, DamagedFileError | None]]:
        """Every file that this package has written, and its damage if it has any; reads them all."""
        for folder in (MODELS, COHORTS, FAILURES, PLANES, *EVALUATIONS):
            names = self._written(folder)
            yield from ((name, self._damage(name)) for name in names)
            sealed = {file for name in names if name.endswith(MODEL) for file in self.seals_of_model(owner_of(name))}
            for name in sorted(sealed - set(names)):
                yield name, DamagedFileError(name, self.path(name), "it is missing")
        for record in filter(self.exists, (TABLES_RECORD, FIGURES_RECORD)):
            damage = self._damage(record)
            yield record, damage
            for name, digest in {} if damage else self.read_json(record).items():
                reason = self._change(name, digest)
                yield name, DamagedFileError(name, self.path(name), reason) if reason else None

    def _written(self, folder: str) -> list[str]:
        """The files in a folder that have the names of this package's."""
        names = self.files(folder, EVALUATIONS.get(folder, ""))
        needed = {"model_id", "epoch"} if folder in EVALUATIONS else set()
        return [name for name in names if needed <= partitions_of(name).keys()]

    def record(self, record: str, names: Iterable[str], others: bool = False) -> None:
        """Store the digests of finished files; those of `others` stay as they are."""
        there = self.read_json(record) if others and self.exists(record) else {}
        self.write_json(record, there | {name: digest_of(self.read(name)) for name in names})

    def changed(self, record: str) -> list[str] | None:
        """The files that have changed since their digests were stored; None if that was never done."""
        try:
            return [name for name, digest in self.read_json(record).items() if self._change(name, digest)]
        except (FileNotFoundError, DamagedFileError):
            return None

    def _change(self, name: str, digest: str) -> str:
        try:
            return "" if digest_of(self.read(name)) == digest else "its content is not what was written"
        except FileNotFoundError:
            return "it is missing"

    def check_model(self, model_id: str) -> None:
        """DamagedFileError if a file of the model is damaged or of another version; reads every file."""
        for name in self.files(self.model_folder(model_id)):
            self._check(name)

    def drop(self, name: str) -> None:
        """Delete a damaged file and everything that depends on it; the stage that made it makes it again.

        With class probabilities and pictures go the label maps that mark them as complete; with any file of a model
        the whole model, which is trained again beside the other models of its cohort, and its evaluations.
        """
        kind = folder_of(name)
        if kind in (PROBABILITIES, PICTURES):
            of = partitions_of(name)
            self.remove(self.labels_file(of["plane_set"], of["model_id"], int(of["epoch"])))
        if kind != MODELS:
            self.remove(name)
            record = {SCORES: TABLES_RECORD, FIGURES: FIGURES_RECORD, REPORT_FILE: FIGURES_RECORD}.get(kind)
            if record is not None:
                self.remove(record)
            return
        model_id = owner_of(name)
        self._remember_cohort(model_id)
        self._seals.pop(model_id, None)
        for folder, file in EVALUATIONS.items():
            for evaluation in self.files(folder, file):
                if partitions_of(evaluation)["model_id"] == model_id:
                    self.remove(evaluation)
        self.remove(self.model_file(model_id, MODEL))  # from now on it is not complete
        self.remove_folder(self.model_folder(model_id))

    def _remember_cohort(self, model_id: str) -> None:
        """Record the members of a model's cohort, as if it were in training: beside them it becomes the same again."""
        for name in dict.fromkeys([self.model_file(model_id, MODEL), *self.files(MODELS, MODEL)]):
            with suppress(FileNotFoundError, DamagedFileError):
                facts = self.read_json(name)
                if model_id in facts.get("cohort", ()):
                    self.write_cohort_members(facts["cohort_id"], facts["cohort"])
                    return

    def _damage(self, name: str) -> DamagedFileError | None:
        try:
            with suppress(FileNotFoundError):  # a command that is at work has just deleted it
                self._check(name)
        except DamagedFileError as error:
            return error if error.name == name else None  # it may be about what it was made with
        return None

    def _check(self, name: str) -> None:
        """DamagedFileError if a file does not hold what its ending says, or is not the version that its model has."""
        match name.rpartition(".")[2]:
            case "parquet" if folder_of(name) in EVALUATIONS:
                self._read_evaluation(name, lambda table, facts: None)
            case "parquet":
                self.read_parquet(name)
            case "json":
                self.read_json(name)
            case "safetensors":
                self.read_tensors(name)

    def _owner(self) -> dict[str, Any]:
        try:
            owner = loaded_yaml(self.read(SWEEP_FILE))
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise UserError(self.path(SWEEP_FILE), reason=f"cannot be read ({one_line(error)})") from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise _DamagedSweepError(self.path(SWEEP_FILE), reason=f"cannot be read ({one_line(error)})") from None
        if not isinstance(owner, dict):
            hint = "delete it if the directory is this sweep's"
            raise _DamagedSweepError(self.path(SWEEP_FILE), reason="is damaged", hint=hint)
        return owner
