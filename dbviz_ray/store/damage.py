"""Damaged files of a run directory: each is dropped, and made again by the stage that made it."""

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
    """A damaged file that this command does not make again; the message says what would."""


class Repairs:
    """Drops what is damaged, of each file once.

    Args:
        store: Where.
        stages: The stages that the command runs, of `every` in their order; only what they make is dropped.
    """

    def __init__(self, store: Store, stages: Sequence[str], every: Sequence[str]) -> None:
        self._store, self._stages, self._every = store, stages, every
        self._dropped: set[str] = set()

    def drop(self, error: DamagedFileError) -> None:
        """Delete the damaged file, and all others that are; they are then missing. BeyondRepairError if it cannot."""
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
        # A disk that lost one file may have lost others: all are found before workers start again.
        folders = [folder for folder in (MODELS, *EVALUATIONS) if MADE_BY[folder] in self._stages]
        others = damaged_files(self._store, folders) if kind in folders else []
        names = {error.name, *(other.name for other in others)}
        what = "it is" if len(names) == 1 else f"{len(names)} damaged files are"
        say(stage, f"{error}; {what} made again")
        self._dropped |= names
        for name in names:
            drop(self._store, name)


def damaged_files(store: Store, folders: Iterable[str]) -> list[DamagedFileError]:
    """What is wrong with files in some of "models" and the folders of `EVALUATIONS`; every one is read."""
    found = []
    for folder in folders:
        for name in store.files(folder, EVALUATIONS.get(folder, "")):
            try:
                _check(store, name)
            except DamagedFileError as error:
                found.append(error)
    return found


def drop(store: Store, name: str) -> None:
    """Delete a damaged file so that it counts as missing, with all that was made from it.

    With class probabilities and pictures go the label maps that vouch for them; with any file of a model the whole
    model, since it is trained again, and what evaluators said of it.
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
    """DamagedFileError if one of a model's files is damaged; every one is read."""
    for name in store.files(store.model_folder(model_id)):
        _check(store, name)


def _check(store: Store, name: str) -> None:
    """DamagedFileError if a file is not what its name says."""
    match name.rpartition(".")[2]:
        case "parquet":
            store.read_parquet(name)
        case "json":
            store.read_json(name)
        case "safetensors":
            store.read_tensors(name)
