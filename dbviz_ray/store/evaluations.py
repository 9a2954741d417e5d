"""Results of evaluators: label maps, class probabilities, margins and pictures, one file each."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dbviz_ray.store.files import encoded
from dbviz_ray.store.layout import EVALUATIONS, LABELS, MARGINS, WEIGHTS, partition, partitions_of
from dbviz_ray.store.models import ModelFiles

Content = TypeVar("Content")
Labels = NDArray[np.uint8] | NDArray[np.uint16]
"""Classes: uint16 if there are more than 256."""
PLANES_TOGETHER = 50
"""Planes in a row group, the least that can be read. 1.25 million labels of a trained network take 80 to 85 kB, no more
than in a single row group, and reading a tenth takes an eighth of the time (2026-11-22, EPYC 9005)."""
_LABELS = {"write_statistics": False, "compression_level": 9}
"""This level makes up for the size of row groups; 1.25 million labels take 3 ms longer than at the default."""
_PROBABILITIES = {"write_statistics": False, "use_dictionary": False}
"""1.6 to 1.9 bytes a value; a dictionary saves nothing and slows reading, since hardly any two values are equal."""


@dataclass(frozen=True)
class StoredMargins:
    """Distances from images to the decision boundary of a model (see `dbviz_ray.evaluation.margins`)."""

    indices: NDArray[np.int32]
    """Indices of the images in their split, `[images]`."""
    predicted: Labels
    """Predicted classes of the images, `[images]`."""
    distances: NDArray[np.float32]
    """L2 in normalised pixels, `[images, directions]`; inf where the class does not change within reach."""
    reaches: NDArray[np.float32]
    """Length of the search, `[images, directions]`."""
    facts: dict[str, Any]
    """`split`, `scan`, `steps`, `reach`, `tolerance`, `seed`."""


class PictureKey(NamedTuple):
    """Identifies a picture: one plane, labelled by a model after an epoch."""

    model_id: str
    epoch: int
    plane_set: str
    plane: int


@dataclass(frozen=True)
class Picture:
    """Predictions of a model on one plane."""

    labels: Labels
    """Predicted classes, `[resolution (b), resolution (a)]`."""
    confidence: NDArray[np.float16] | None = None
    """Probability of the predicted class, same shape; None unless requested."""

    @property
    def resolution(self) -> int:
        """Grid points on each side."""
        return len(self.labels)


class EvaluationFiles(ModelFiles):
    """Evaluations in a run directory."""

    def labelled(self, plane_set: str) -> set[tuple[str, int]]:
        """(model_id, epoch) of all complete label maps of a plane set."""
        return self._complete(f"{LABELS}/{partition('plane_set', plane_set)}", LABELS)

    def _sources(self, name: str) -> dict[str, str]:
        """The seals of the weights and planes that the evaluation of this name is made from, as far as known."""
        of = partitions_of(name)
        seals, weights = self.seals_of_model(of["model_id"]), WEIGHTS
        snapshot = self.model_file(of["model_id"], weights, int(of["epoch"]))
        sources = {"weights": seals.get(snapshot) or seals.get(self.model_file(of["model_id"], weights), "")}
        if "plane_set" in of:
            with suppress(FileNotFoundError):
                sources["planes"] = self.seal(self.planes_file(of["plane_set"]))
        return sources

    def _read_evaluation(
        self, name: str, content: Callable[[pa.Table, dict[str, Any]], Content], rows: slice | None = None
    ) -> Content:
        """`content` of an evaluation. DamagedFileError also if it was made with other weights or planes."""
        sources = self._sources(name)

        def checked(table: pa.Table, facts: dict[str, Any]) -> Content:
            for source, seal in sources.items():
                if facts.pop(source, seal) not in (seal, "") and seal:
                    raise ValueError(f"it was made with other {source}")
            return content(table, facts)

        return self._read_table(name, checked, rows)

    def write_label_maps(self, plane_set: str, model_id: str, epoch: int, labels: Labels) -> None:
        """Store label maps `[planes, resolution (b), resolution (a)]`, one plane a row."""
        self._write_planes(self.labels_file(plane_set, model_id, epoch), "labels", labels, _LABELS)

    def read_label_maps(self, plane_set: str, model_id: str, epoch: int, planes: slice | None = None) -> Labels:
        """The stored label maps, or some of the planes; reads only the row groups that hold them."""
        return self._read_planes(self.labels_file(plane_set, model_id, epoch), "labels", planes)

    def write_probabilities(self, plane_set: str, model_id: str, epoch: int, values: NDArray[np.float16]) -> None:
        """Store class probabilities float16 `[planes, resolution, resolution, classes]`, one plane a row."""
        name = self.probabilities_file(plane_set, model_id, epoch)
        self._write_planes(name, "probabilities", values, _PROBABILITIES)

    def read_probabilities(
        self, plane_set: str, model_id: str, epoch: int, planes: slice | None = None
    ) -> NDArray[np.float16]:
        """The stored class probabilities, or some of the planes."""
        return self._read_planes(self.probabilities_file(plane_set, model_id, epoch), "probabilities", planes)

    def _write_planes(self, name: str, column: str, values: NDArray[Any], options: Mapping[str, Any]) -> None:
        planes = len(values)
        facts = {"resolution": values.shape[1]} | ({"classes": values.shape[3]} if values.ndim == 4 else {})
        columns = {"plane": np.arange(planes, dtype=np.int32), column: fixed_lists(values.reshape(planes, -1))}
        self.write(name, encoded(pa.table(columns), {**facts, **self._sources(name)}, PLANES_TOGETHER, **options))

    def _read_planes(self, name: str, column: str, planes: slice | None) -> NDArray[Any]:
        if planes is not None and planes.step not in (None, 1):
            raise ValueError(f"planes: {planes} is not allowed; allowed: a step of 1")

        def points(table: pa.Table, facts: dict[str, Any]) -> NDArray[Any]:
            classes = [facts["classes"]] if column == "probabilities" else []
            return listed_values(table, column, len(table), facts["resolution"], facts["resolution"], *classes)

        return self._read_evaluation(name, points, planes)

    def with_margins(self) -> set[tuple[str, int]]:
        """(model_id, epoch) of all complete margins."""
        return self._complete(MARGINS, MARGINS)

    def write_margins(self, model_id: str, epoch: int, margins: StoredMargins) -> None:
        """Store margins, one image a row."""
        columns = {"index": margins.indices, "predicted": margins.predicted}
        columns |= {name: fixed_lists(getattr(margins, name)) for name in ("distances", "reaches")}
        name = self.margins_file(model_id, epoch)
        self.write_parquet(name, pa.table(columns), {**margins.facts, **self._sources(name)})

    def read_margins(self, model_id: str, epoch: int) -> StoredMargins:
        """The stored margins."""

        def margins(table: pa.Table, facts: dict[str, Any]) -> StoredMargins:
            distances, reaches = (listed_values(table, name, len(table), -1) for name in ("distances", "reaches"))
            return StoredMargins(table["index"].to_numpy(), table["predicted"].to_numpy(), distances, reaches, facts)

        return self._read_evaluation(self.margins_file(model_id, epoch), margins)

    def write_picture(self, plane_set: str, model_id: str, epoch: int, plane: int, picture: Picture) -> None:
        """Store or replace a picture: one row with two lists, row after row of the grid."""
        columns = {"labels": _one_list(picture.labels)}
        if picture.confidence is not None:
            columns["confidence"] = _one_list(picture.confidence)
        name = self.picture_file(plane_set, model_id, epoch, plane)
        facts = {"resolution": picture.resolution, **self._sources(name)}
        self.write(name, encoded(pa.table(columns), facts, **_LABELS))

    def read_picture(self, plane_set: str, model_id: str, epoch: int, plane: int) -> Picture | None:
        """The stored picture; None if there is none."""

        def picture(table: pa.Table, facts: dict[str, Any]) -> Picture:
            sides = facts["resolution"], facts["resolution"]
            confidence = listed_values(table, "confidence", *sides) if "confidence" in table.column_names else None
            return Picture(listed_values(table, "labels", *sides), confidence)

        try:
            return self._read_evaluation(self.picture_file(plane_set, model_id, epoch, plane), picture)
        except FileNotFoundError:
            return None

    def _complete(self, folder: str, kind: str) -> set[tuple[str, int]]:
        """(model_id, epoch) of every evaluation of one kind below `folder`, in one listing."""
        found = (partitions_of(name) for name in self.files(folder, EVALUATIONS[kind]))
        return {(keys["model_id"], int(keys["epoch"])) for keys in found}


def listed_values(table: pa.Table, column: str, *shape: int) -> NDArray[Any]:
    """A column of lists as one array. KeyError or ValueError if it is none."""
    values: NDArray[Any] = table[column].combine_chunks().flatten().to_numpy()
    return values.reshape(shape)


def fixed_lists(values: NDArray[Any]) -> pa.FixedSizeListArray:
    """A column of the rows of an array."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _one_list(values: NDArray[Any]) -> pa.ListArray:
    """A list of variable length, so that pictures of different grids open as one table."""
    return pa.ListArray.from_arrays(pa.array([0, values.size], pa.int32()), pa.array(values.reshape(-1)))
