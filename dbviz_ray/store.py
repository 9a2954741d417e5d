"""The run directory: every file name and schema, atomic writes, and what counts as complete.

    sweep.yaml                                         the resolved configuration
    models/<model_id>/weights.safetensors              the last epoch's weights
    models/<model_id>/history.parquet                  one row an epoch
    models/<model_id>/predictions.parquet              one row an image of the data set
    models/<model_id>/snapshots/epoch=<00100>/         weights and predictions after an earlier epoch
    models/<model_id>/model.json                       configuration and outcome; written last: complete
    cohorts/<cohort_id>/state.safetensors              training state, until the cohort is complete
    planes/<plane_set>.parquet                         images and coordinates, one row a plane
    labels/plane_set=<..>/model_id=<..>/epoch=<00400>/labels.parquet   label maps, one row a plane
    scores/<table>.parquet, scores/<table>.csv         what the analysis computed
    figures/<figure>.png

A directory on a local or shared disk, or any URI that pyarrow.fs knows (`s3://bucket/prefix`). A file is absent
or whole: locally it is written beside its final name and renamed, on an object store it is one PUT.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray
from pyarrow import fs

from dbviz_ray.config import SweepConfig, differing_fields
from dbviz_ray.errors import UserError

SWEEP_FILE = "sweep.yaml"
_PARQUET = {"compression": "zstd"}


class Store:
    """One run directory; holds no state but where it is, so it can be sent to any process."""

    def __init__(self, root: str | Path) -> None:
        address = str(root).removeprefix("file://")
        self.root = address if "://" in address else str(Path(address).expanduser().absolute())

    @cached_property
    def _place(self) -> tuple[Any, str]:
        try:
            filesystem, base = fs.FileSystem.from_uri(self.root)
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"--out: {self.root} is neither a directory nor a usable URI ({_reason(error)})") from None
        return filesystem, base.rstrip("/")

    def __getstate__(self) -> dict[str, str]:
        return {"root": self.root}

    @property
    def is_local(self) -> bool:
        """Whether the run directory is a path of this machine's file system."""
        return "://" not in self.root

    # ---- files

    def path(self, name: str) -> str:
        """Where the file called `name` (relative to the run directory) is, for people and other programs."""
        return f"{self.root}/{name}"

    def write(self, name: str, content: bytes) -> None:
        """Write a file wholly or not at all."""
        filesystem, base = self._place
        target = f"{base}/{name}"
        if not self.is_local:
            with filesystem.open_output_stream(target) as stream:
                stream.write(content)
            return
        folder, _, file = target.rpartition("/")
        temporary = f"{folder}/.{file}.{uuid.uuid4().hex}.tmp"
        for last_try in (False, True):
            try:
                filesystem.create_dir(folder, recursive=True)
                with filesystem.open_output_stream(temporary) as stream:
                    stream.write(content)
                filesystem.move(temporary, target)
                return
            except FileNotFoundError:  # the worker of a killed command was just dropping the folder
                if last_try:
                    raise

    def read(self, name: str) -> bytes:
        """The whole file; FileNotFoundError if it is absent."""
        filesystem, base = self._place
        with filesystem.open_input_file(f"{base}/{name}") as stream:
            return stream.read()  # type: ignore[no-any-return]

    def exists(self, name: str) -> bool:
        """Whether the file is there, and so whole."""
        filesystem, base = self._place
        return filesystem.get_file_info(f"{base}/{name}").type == fs.FileType.File  # type: ignore[no-any-return]

    def remove_folder(self, name: str) -> None:
        """Delete a folder and all in it, if it is there."""
        filesystem, base = self._place
        if filesystem.get_file_info(f"{base}/{name}").type == fs.FileType.Directory:
            with suppress(FileNotFoundError):
                filesystem.delete_dir(f"{base}/{name}")

    def _files(self, folder: str, name: str) -> list[str]:
        """Paths of the files called `name` anywhere within `folder`; one listing."""
        filesystem, base = self._place
        found = filesystem.get_file_info(fs.FileSelector(f"{base}/{folder}", recursive=True, allow_not_found=True))
        return [info.path for info in found if info.base_name == name]

    # ---- the sweep

    def claim(self, sweep: SweepConfig) -> None:
        """Make this directory `sweep`'s, or check that it is. UserError if it is another's or not writable."""
        text = yaml.safe_dump(sweep.model_dump(mode="json"), sort_keys=False)
        self.check_owner(sweep)
        try:
            self.write(SWEEP_FILE, text.encode())
        except OSError as error:
            raise UserError(f"--out: {self.root} cannot be written ({_reason(error)})") from None

    def check_owner(self, sweep: SweepConfig) -> None:
        """UserError if the directory holds a sweep whose results would differ from those of `sweep`."""
        try:
            owner = yaml.safe_load(self.read(SWEEP_FILE))
        except (FileNotFoundError, NotADirectoryError):
            self._check_empty()
            return
        except (OSError, yaml.YAMLError) as error:
            raise UserError(f"--out: {self.root}/{SWEEP_FILE} cannot be read ({_reason(error)})") from None
        if not isinstance(owner, dict):
            raise UserError(f"--out: {self.root}/{SWEEP_FILE} is damaged; delete it if the directory is this sweep's")
        identity = sweep.identity()
        fields = list(differing_fields({key: owner.get(key) for key in identity}, identity))
        if fields:
            named = ", ".join(fields[:4]) + (", ..." if len(fields) > 4 else "")
            raise UserError(
                f"--out: {self.root} belongs to a different sweep ({owner.get('name')}: {named} differ); "
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

    def model_file(self, model_id: str, file: str) -> str:
        """Name of one of a model's files."""
        return f"models/{model_id}/{file}"

    def snapshot_file(self, model_id: str, epoch: int, file: str) -> str:
        """Name of one of the files that tell what a model was after an epoch before its last."""
        return self.model_file(model_id, f"snapshots/{_partition('epoch', epoch)}/{file}")

    def cohort_state_file(self, cohort_id: str) -> str:
        """Name of a cohort's training state."""
        return f"cohorts/{cohort_id}/state.safetensors"

    def drop_cohort(self, cohort_id: str) -> None:
        """Forget the training state of a cohort whose models are complete."""
        self.remove_folder(f"cohorts/{cohort_id}")

    # ---- planes and label maps

    def planes_file(self, plane_set: str) -> str:
        """Name of a plane set's file."""
        return f"planes/{plane_set}.parquet"

    def labels_file(self, plane_set: str, model_id: str, epoch: int) -> str:
        """Name of the label maps on one plane set of one model, as it was after `epoch`."""
        return f"labels/plane_set={plane_set}/model_id={model_id}/{_partition('epoch', epoch)}/labels.parquet"

    def labelled(self, plane_set: str) -> set[tuple[str, int]]:
        """model_id and epoch of everything whose label maps on a plane set are complete."""
        files = self._files(f"labels/plane_set={plane_set}", "labels.parquet")
        partitions = (path.split("/")[-3:-1] for path in files)
        return {
            (model_id.removeprefix("model_id="), int(epoch.removeprefix("epoch="))) for model_id, epoch in partitions
        }

    def write_label_maps(self, plane_set: str, model_id: str, epoch: int, labels: NDArray[np.uint8]) -> None:
        """Store label maps uint8 `[planes, resolution, resolution]`, one row a plane, rows of b one after another."""
        planes, resolution, _ = labels.shape
        points = pa.FixedSizeListArray.from_arrays(pa.array(labels.reshape(-1)), resolution**2)
        table = pa.table({"plane": pa.array(np.arange(planes, dtype=np.int32)), "labels": points})
        self.write_parquet(self.labels_file(plane_set, model_id, epoch), table, {"resolution": resolution})

    def read_label_maps(self, plane_set: str, model_id: str, epoch: int) -> NDArray[np.uint8]:
        """What `write_label_maps` stored."""
        table, facts = self.read_parquet(self.labels_file(plane_set, model_id, epoch))
        labels = table["labels"].combine_chunks().flatten().to_numpy()
        return labels.reshape(-1, facts["resolution"], facts["resolution"])  # type: ignore[no-any-return]

    # ---- tables

    def scores_file(self, table: str, suffix: str = "parquet") -> str:
        """Name of a table of scores."""
        return f"scores/{table}.{suffix}"

    def figure_file(self, figure: str) -> str:
        """Name of a picture."""
        return f"figures/{figure}.png"

    def write_parquet(self, name: str, table: pa.Table, facts: Mapping[str, Any] | None = None) -> None:
        """Store a table; `facts` (anything JSON can hold) go into its metadata."""
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({"dbviz": json.dumps(facts or {})}), sink, **_PARQUET)
        self.write(name, sink.getvalue().to_pybytes())

    def read_parquet(self, name: str) -> tuple[pa.Table, dict[str, Any]]:
        """A stored table and its facts."""
        table = pq.read_table(pa.BufferReader(self.read(name)))
        return table, json.loads((table.schema.metadata or {}).get(b"dbviz", b"{}"))

    def write_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Store a JSON object."""
        self.write(name, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())

    def read_json(self, name: str) -> dict[str, Any]:
        """A stored JSON object."""
        content: dict[str, Any] = json.loads(self.read(name))
        return content


def _partition(key: str, number: int) -> str:
    """A folder's name as pandas, DuckDB and polars read it, in an order that sorts."""
    return f"{key}={number:05}"


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
