"""Single planes on grids that are finer than those that are scored, for people to look at; a file each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dbviz_ray.store.directory import Directory
from dbviz_ray.store.parquet_files import encoded
from dbviz_ray.store.partitions import partition

_OPTIONS = {"write_statistics": False, "compression_level": 9}


@dataclass(frozen=True)
class Picture:
    """What a model says on one plane."""

    labels: NDArray[np.uint8]
    """Predicted classes, `[resolution (b), resolution (a)]`."""
    confidence: NDArray[np.float16] | None = None
    """Probability of the predicted class on every point, likewise; None where it was not asked for."""

    @property
    def resolution(self) -> int:
        """Grid points on each side."""
        return len(self.labels)


class PictureFiles(Directory):
    """Pictures of planes, for as many models and planes as there are."""

    def picture_file(self, plane_set: str, model_id: str, epoch: int, plane: int) -> str:
        """Name of the picture of one plane of a set by one model, as it was after `epoch`."""
        partitions = f"plane_set={plane_set}/model_id={model_id}/{partition('epoch', epoch)}"
        return f"pictures/{partitions}/{partition('plane', plane)}/picture.parquet"

    def write_picture(self, plane_set: str, model_id: str, epoch: int, plane: int, picture: Picture) -> None:
        """Store a picture, in place of what was there: a row of two lists, rows of b one after another."""
        columns = {"labels": _one_list(picture.labels)}
        if picture.confidence is not None:
            columns["confidence"] = _one_list(picture.confidence)
        facts = {"resolution": picture.resolution}
        self.write(self.picture_file(plane_set, model_id, epoch, plane), encoded(pa.table(columns), facts, **_OPTIONS))

    def read_picture(self, plane_set: str, model_id: str, epoch: int, plane: int) -> Picture | None:
        """What `write_picture` stored; None if there is none."""

        def picture(table: pa.Table, facts: dict[str, Any]) -> Picture:
            sides = facts["resolution"], facts["resolution"]
            labels, confidence = (
                table[name].combine_chunks().flatten().to_numpy().reshape(sides) if name in table.column_names else None
                for name in ("labels", "confidence")
            )
            if labels is None:
                raise ValueError("it holds no labels")
            return Picture(labels, confidence)

        try:
            return self._read_table(self.picture_file(plane_set, model_id, epoch, plane), picture)
        except FileNotFoundError:
            return None


def _one_list(values: NDArray[Any]) -> pa.ListArray:
    """Of any length, so that pictures of different grids open as one table."""
    return pa.ListArray.from_arrays(pa.array([0, values.size], pa.int32()), pa.array(values.reshape(-1)))
