"""The run directory: every file name and schema, atomic writes, and what counts as complete.

    sweep.yaml                                         the resolved configuration
    models/<model_id>/weights.safetensors              the last epoch's weights
    models/<model_id>/history.parquet                  one row an epoch
    models/<model_id>/predictions.parquet              one row an image of the data set
    models/<model_id>/snapshots/epoch=<00100>/         weights and predictions after an earlier epoch
    models/<model_id>/model.json                       configuration and outcome; written last: complete
    cohorts/<cohort_id>/state.safetensors              training state, until the cohort is complete
    cohorts/<cohort_id>/cohort.json                    the model_ids of its members
    planes/<plane_set>.parquet                         images and coordinates, one row a plane
    labels/plane_set=<..>/model_id=<..>/epoch=<00400>/labels.parquet                 label maps, one row a plane
    probabilities/plane_set=<..>/model_id=<..>/epoch=<00400>/probabilities.parquet   where asked for, the same
    margins/model_id=<..>/epoch=<00400>/margins.parquet                              distances, one row an image
    failures/<model_id>.json                           why the sweep has to do without a model, until it is tried again
    scores/<table>.parquet, scores/<table>.csv         what the analysis computed
    figures/<figure>.png

Class probabilities are written before the label maps of the same planes, which are the mark that both are complete.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml
from numpy.typing import NDArray
from pyarrow import fs
from pydantic import ValidationError

from dbviz_ray.config import SweepConfig, differing_fields
from dbviz_ray.directory import Directory
from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.outcomes import Failure
from dbviz_ray.parquet_files import encoded

SWEEP_FILE = "sweep.yaml"
PLANES_TOGETHER = 50
"""Planes in a row group: the least that is read at once. 1.25 million labels of a trained network take 80 to 85 kB, as
in one row group, and a tenth of them is read in an eighth of the time (2026-11-22, EPYC 9005)."""
_EVALUATIONS = {"labels": "labels.parquet", "probabilities": "probabilities.parquet", "margins": "margins.parquet"}
"""What evaluators make: a file's name by its folder."""
_LABELS = {"write_statistics": False, "compression_level": 9}
"""A level that makes up for what row groups cost; it takes 3 ms more of 1.25 million labels than the default."""
_PROBABILITIES = {"write_statistics": False, "use_dictionary": False}
"""1.6 to 1.9 bytes each; a dictionary makes files no smaller and slower to read, since hardly two are the same."""


@dataclass(frozen=True)
class StoredMargins:
    """Distances of images to where a model's decision changes (see `dbviz_ray.margins`)."""

    indices: NDArray[np.int32]
    """Places of the images in their split, `[images]`."""
    predicted: NDArray[np.uint8]
    """Classes predicted at the images themselves, `[images]`."""
    distances: NDArray[np.float32]
    """L2 in normalised pixels, `[images, directions]`; inf where the class does not change within reach."""
    reaches: NDArray[np.float32]
    """How far was looked, `[images, directions]`."""
    facts: dict[str, Any]
    """`split`, `steps`, `reach`, `tolerance`, `seed`."""


class Store(Directory):
    """One run directory."""

    # ---- the sweep

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
            owner = yaml.safe_load(self.read(SWEEP_FILE))
        except (FileNotFoundError, NotADirectoryError):
            self._check_empty()
            return
        except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"--out: {self.root}/{SWEEP_FILE} cannot be read ({one_line(error)})") from None
        if not isinstance(owner, dict):
            raise UserError(f"--out: {self.root}/{SWEEP_FILE} is damaged; delete it if the directory is this sweep's")
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

    def _check_empty(self) -> None:
        filesystem, base = self._place
        info = filesystem.get_file_info(base)
        if info.type == fs.FileType.File:
            raise UserError(f"--out: {self.root} is a file; allowed: a directory")
        if info.type != fs.FileType.Directory:
            return
        # What a killed write left does not count.
        if any(not entry.base_name.startswith(".") for entry in filesystem.get_file_info(fs.FileSelector(base))):
            raise UserError(
                f"--out: {self.root} holds files but no {SWEEP_FILE}, so it is not a run directory; "
                "allowed: an empty directory, or one that a sweep made"
            )

    # ---- models

    def complete_models(self) -> set[str]:
        """model_id of every trained model."""
        return {path.split("/")[-2] for path in self._files("models", "model.json")}

    def complete_among(self, model_ids: Iterable[str]) -> set[str]:
        """Those of some models that are trained: a request each, however many others there are."""
        return {model_id for model_id in model_ids if self.exists(self.model_file(model_id, "model.json"))}

    def model_file(self, model_id: str, file: str) -> str:
        """Name of one of a model's files."""
        return f"models/{model_id}/{file}"

    def snapshot_file(self, model_id: str, epoch: int, file: str) -> str:
        """Name of one of the files that tell what a model was after an epoch before its last."""
        return self.model_file(model_id, f"snapshots/{_partition('epoch', epoch)}/{file}")

    def cohort_state_file(self, cohort_id: str) -> str:
        """Name of a cohort's training state."""
        return f"cohorts/{cohort_id}/state.safetensors"

    def write_cohort_members(self, cohort_id: str, model_ids: Sequence[str]) -> None:
        """Name the members of a cohort whose training state is kept, in its order."""
        self.write_json(f"cohorts/{cohort_id}/cohort.json", {"models": list(model_ids)})

    def begun_cohorts(self) -> dict[str, list[str]]:
        """model_ids of the members of every cohort whose training was begun and not finished, by cohort_id."""
        begun = {}
        for path in self._files("cohorts", "cohort.json"):
            cohort_id = path.split("/")[-2]
            try:
                members = self.read_json(f"cohorts/{cohort_id}/cohort.json")["models"]
            except (FileNotFoundError, DamagedFileError, KeyError):
                continue  # as good as not begun
            begun[cohort_id] = [str(model_id) for model_id in members]
        return begun

    def drop_cohort(self, cohort_id: str) -> None:
        """Forget the training state of a cohort whose models are complete."""
        self.remove_folder(f"cohorts/{cohort_id}")

    # ---- failures

    def failures(self) -> dict[str, Failure]:
        """Why the sweep has to do without some models, by model_id."""
        names = [path.rpartition("/")[2] for path in self._files("failures", suffix=".json")]
        found: dict[str, Failure] = {}
        for name in names:
            try:
                failure = Failure.of_facts(self.read_json(f"failures/{name}"))
            except (FileNotFoundError, DamagedFileError, KeyError, ValueError):
                continue  # as good as none: the model is tried again
            found[failure.model_id] = failure
        return found

    def write_failure(self, failure: Failure) -> None:
        """Record that the sweep has to do without a model."""
        self.write_json(f"failures/{failure.model_id}.json", failure.facts())

    def forget_failures(self, model_ids: Iterable[str]) -> None:
        """Before models are tried again."""
        for model_id in model_ids:
            self.remove(f"failures/{model_id}.json")

    # ---- planes and label maps

    def planes_file(self, plane_set: str) -> str:
        """Name of a plane set's file."""
        return f"planes/{plane_set}.parquet"

    def labels_file(self, plane_set: str, model_id: str, epoch: int) -> str:
        """Name of the label maps on one plane set of one model, as it was after `epoch`."""
        return f"labels/plane_set={plane_set}/model_id={model_id}/{_partition('epoch', epoch)}/labels.parquet"

    def labelled(self, plane_set: str) -> set[tuple[str, int]]:
        """model_id and epoch of everything whose label maps on a plane set are complete."""
        return self._partitions(f"labels/plane_set={plane_set}", "labels.parquet")

    def write_label_maps(self, plane_set: str, model_id: str, epoch: int, labels: NDArray[np.uint8]) -> None:
        """Store label maps uint8 `[planes, resolution, resolution]`, one row a plane, rows of b one after another."""
        facts = {"resolution": labels.shape[1]}
        self._write_planes(self.labels_file(plane_set, model_id, epoch), "labels", labels, facts, _LABELS)

    def read_label_maps(
        self, plane_set: str, model_id: str, epoch: int, planes: slice | None = None
    ) -> NDArray[np.uint8]:
        """What `write_label_maps` stored, or some of the planes; of the others no more is read than a row group."""
        name = self.labels_file(plane_set, model_id, epoch)
        return self._read_planes(name, "labels", ("resolution", "resolution"), planes)

    def probabilities_file(self, plane_set: str, model_id: str, epoch: int) -> str:
        """Name of the class probabilities on one plane set of one model, as it was after `epoch`."""
        partitions = f"plane_set={plane_set}/model_id={model_id}/{_partition('epoch', epoch)}"
        return f"probabilities/{partitions}/probabilities.parquet"

    def write_probabilities(self, plane_set: str, model_id: str, epoch: int, values: NDArray[np.float16]) -> None:
        """Store class probabilities float16 `[planes, resolution, resolution, classes]`, one row a plane."""
        facts = {"resolution": values.shape[1], "classes": values.shape[3]}
        name = self.probabilities_file(plane_set, model_id, epoch)
        self._write_planes(name, "probabilities", values, facts, _PROBABILITIES)

    def read_probabilities(
        self, plane_set: str, model_id: str, epoch: int, planes: slice | None = None
    ) -> NDArray[np.float16]:
        """What `write_probabilities` stored, or some of the planes."""
        name = self.probabilities_file(plane_set, model_id, epoch)
        return self._read_planes(name, "probabilities", ("resolution", "resolution", "classes"), planes)

    def _write_planes(
        self, name: str, column: str, values: NDArray[Any], facts: Mapping[str, int], options: Mapping[str, Any]
    ) -> None:
        planes = len(values)
        points = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values[0].size)
        table = pa.table({"plane": pa.array(np.arange(planes, dtype=np.int32)), column: points})
        self.write(name, encoded(table, facts, PLANES_TOGETHER, **options))

    def _read_planes(self, name: str, column: str, shape: tuple[str, ...], planes: slice | None) -> NDArray[Any]:
        if planes is not None and planes.step not in (None, 1):
            raise ValueError(f"planes: {planes} is not allowed; allowed: a step of 1")

        def values(table: pa.Table, facts: dict[str, Any]) -> NDArray[Any]:
            points: NDArray[Any] = table[column].combine_chunks().flatten().to_numpy()
            return points.reshape(len(table), *(facts[side] for side in shape))

        return self._read_table(name, values, planes)

    # ---- margins

    def margins_file(self, model_id: str, epoch: int) -> str:
        """Name of the margins of one model, as it was after `epoch`."""
        return f"margins/model_id={model_id}/{_partition('epoch', epoch)}/margins.parquet"

    def with_margins(self) -> set[tuple[str, int]]:
        """model_id and epoch of everything whose margins are complete."""
        return self._partitions("margins", "margins.parquet")

    def write_margins(self, model_id: str, epoch: int, margins: StoredMargins) -> None:
        """Store margins, one row an image."""
        columns = {"index": margins.indices, "predicted": margins.predicted}
        for name in ("distances", "reaches"):
            values = getattr(margins, name)
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        table = pa.table(columns)
        self.write_parquet(self.margins_file(model_id, epoch), table, margins.facts)

    def read_margins(self, model_id: str, epoch: int) -> StoredMargins:
        """What `write_margins` stored."""

        def margins(table: pa.Table, facts: dict[str, Any]) -> StoredMargins:
            distances, reaches = (
                table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
                for name in ("distances", "reaches")
            )
            return StoredMargins(table["index"].to_numpy(), table["predicted"].to_numpy(), distances, reaches, facts)

        return self._read_table(self.margins_file(model_id, epoch), margins)

    def _partitions(self, folder: str, file: str) -> set[tuple[str, int]]:
        """model_id and epoch of every file called `file` within `folder`; one listing."""
        partitions = (path.split("/")[-3:-1] for path in self._files(folder, file))
        return {
            (model_id.removeprefix("model_id="), int(epoch.removeprefix("epoch="))) for model_id, epoch in partitions
        }

    # ---- damaged files

    def drop(self, name: str) -> None:
        """Delete a damaged file so that it counts as missing, with all that was made from it.

        With class probabilities go the label maps that vouch for them; with any file of a model the whole model, since
        it is trained again, and what evaluators said of it.
        """
        kind, _, rest = name.partition("/")
        if kind == "probabilities":
            self.remove(f"labels/{rest.rpartition('/')[0]}/labels.parquet")
        if kind == "models":
            self._drop_model(rest.partition("/")[0])
        else:
            self.remove(name)

    def _drop_model(self, model_id: str) -> None:
        self.remove(self.model_file(model_id, "model.json"))  # first: it is not complete from now on
        for folder, file in _EVALUATIONS.items():
            for path in self._files(folder, file):
                if f"/model_id={model_id}/" in path:
                    self.remove(self._name_of(path))
        self.remove_folder(f"models/{model_id}")

    def damaged_files(self, folders: Iterable[str]) -> list[DamagedFileError]:
        """What is wrong with files in some of "models", "labels", "probabilities", "margins"; every one is read."""
        found = []
        for folder in folders:
            for path in self._files(folder, _EVALUATIONS.get(folder, "")):
                try:
                    self._check(self._name_of(path))
                except DamagedFileError as error:
                    found.append(error)
        return found

    def _check(self, name: str) -> None:
        """DamagedFileError if a file is not what its name says."""
        match name.rpartition(".")[2]:
            case "parquet":
                self.read_parquet(name)
            case "json":
                self.read_json(name)
            case "safetensors":
                self.read_tensors(name)

    def _name_of(self, path: str) -> str:
        return path.removeprefix(f"{self._place[1]}/")

    def remove_leftovers(self) -> None:
        """Delete what killed writers left beside their files; in an object store nothing is left."""
        if self.is_local:
            for path in Path(self.root).rglob(".*.tmp"):
                path.unlink(missing_ok=True)

    # ---- weights and training states

    def read_tensors(self, name: str) -> dict[str, Any]:
        """The torch tensors of a safetensors file. DamagedFileError if it cannot be made out."""
        import safetensors.torch  # imports torch

        try:
            return safetensors.torch.load(self.read(name))
        except (safetensors.SafetensorError, KeyError, RuntimeError) as error:  # types and shapes that torch has not
            raise DamagedFileError(name, self.path(name), one_line(error)) from None

    # ---- tables

    def scores_file(self, table: str, suffix: str = "parquet") -> str:
        """Name of a table of scores."""
        return f"scores/{table}.{suffix}"

    def figure_file(self, figure: str) -> str:
        """Name of a picture."""
        return f"figures/{figure}.png"


def _with_defaults(owner: dict[str, Any]) -> dict[str, Any]:
    """A stored sweep with the fields that sweeps have got since then."""
    try:
        return SweepConfig.model_validate(owner).identity()
    except ValidationError:
        return owner


def _partition(key: str, number: int) -> str:
    """A folder's name as pandas, DuckDB and polars read it, in an order that sorts."""
    return f"{key}={number:05}"
