"""Damaged files of a run directory: each is deleted, and the stage that made it makes it again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dbviz_ray.errors import DamagedFileError
from dbviz_ray.store import Store
from dbviz_ray.store.layout import (
    EVALUATIONS,
    MADE_BY,
    MODEL,
    MODELS,
    PICTURES,
    PROBABILITIES,
    folder_of,
    owner_of,
    partitions_of,
)
from dbviz_ray.terminal.progress import say


class BeyondRepairError(Exception):
    """This command does not make a damaged file again; the message names one that does."""


class Repairs:
    """Deletes damaged files, each at most once.

    Args:
        store: The run directory.
        stages: The stages that the command runs; only their files are deleted.
        every: All stages, in order.
    """

    def __init__(self, store: Store, stages: Sequence[str], every: Sequence[str]) -> None:
        self._store, self._stages, self._every = store, stages, every
        self._dropped: set[str] = set()

    def drop(self, error: DamagedFileError) -> None:
        """Delete the damaged file and all other damaged ones. BeyondRepairError if these stages do not remake it."""
        kind = folder_of(error.name)
        stage = MADE_BY.get(kind)
        if stage is None:
            raise BeyondRepairError(f"{error}; delete {error.path}") from None
        if stage not in self._stages:
            again = [s for s in self._every[self._every.index(stage) :] if s == stage or s in self._stages]
            raise BeyondRepairError(
                f"{error}; the same command with --stages {','.join(again)} makes it again"
            ) from None
        if error.name in self._dropped:
            raise BeyondRepairError(f"{error}, corrupt again after rewriting; check the disk") from None
        # A disk that lost one file may have lost others: find all before workers start again.
        folders = [folder for folder in (MODELS, *EVALUATIONS) if MADE_BY[folder] in self._stages]
        others = damaged_files(self._store, folders) if kind in folders else []
        names = {error.name, *(other.name for other in others)}
        what = "it is" if len(names) == 1 else f"{len(names)} damaged files are"
        say(stage, f"{error}; {what} made again")
        self._dropped |= names
        for name in names:
            drop(self._store, name)


def damaged_files(store: Store, folders: Iterable[str]) -> list[DamagedFileError]:
    """The damage in `folders`, each "models" or one of `EVALUATIONS`; reads every file."""
    found = []
    for folder in folders:
        for name in store.files(folder, EVALUATIONS.get(folder, "")):
            try:
                _check(store, name)
            except DamagedFileError as error:
                found.append(error)
    return found


def drop(store: Store, name: str) -> None:
    """Delete a damaged file and everything that depends on it.

    For class probabilities and pictures these are the label maps that mark them as complete; for any file of a model,
    the whole model, which is trained again, and its evaluations.
    """
    kind = folder_of(name)
    if kind in (PROBABILITIES, PICTURES):
        of = partitions_of(name)
        store.remove(store.labels_file(of["plane_set"], of["model_id"], int(of["epoch"])))
    if kind != MODELS:
        store.remove(name)
        return
    model_id = owner_of(name)
    for folder, file in EVALUATIONS.items():
        for evaluation in store.files(folder, file):
            if partitions_of(evaluation)["model_id"] == model_id:
                store.remove(evaluation)
    store.remove(store.model_file(model_id, MODEL))  # from now on it is not complete
    store.remove_folder(store.model_folder(model_id))


def check_model(store: Store, model_id: str) -> None:
    """DamagedFileError if a file of the model is damaged; reads every file."""
    for name in store.files(store.model_folder(model_id)):
        _check(store, name)


def _check(store: Store, name: str) -> None:
    """DamagedFileError if a file does not hold what its ending says."""
    match name.rpartition(".")[2]:
        case "parquet":
            store.read_parquet(name)
        case "json":
            store.read_json(name)
        case "safetensors":
            store.read_tensors(name)
