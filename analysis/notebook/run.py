"""Read a run in a notebook: scores, findings, models, planes and label maps as pandas, Arrow and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.store import FINDINGS_FILE, Picture, PictureKey, Store

from ..figures.choices import TRAINED, check_plane, choose_model, choose_plane_set, files_of_run
from ..figures.regions import PlanePicture, plane_picture
from ..figures.sweep_tables import shown_picture
from ..findings import read_findings

ANALYSED, EVALUATED = "after the stage analyse", "once the stage evaluate has begun"


def load_run(path: str | Path) -> Run:
    """Open the run directory of a sweep: a path, or an address such as `s3://bucket/runs/double_descent`.

    Reads only the configuration; the rest is read on demand. Loads no network and writes nothing.

    Raises:
        UserError: if it is not a run directory.
    """
    store = Store(path)
    return Run(store, store.sweep())


@dataclass(frozen=True, repr=False)
class Run:
    """A run directory, opened by `load_run`.

    Name a model by its model_id or a part that only it has; append `@32` for the snapshot after epoch 32. By default
    the epoch is the last and the plane set the sweep's first. Missing or damaged files raise UserError.
    """

    store: Store
    sweep: SweepConfig
    """The resolved configuration of the sweep."""

    def __repr__(self) -> str:
        sets = (
            f"{name} ({of.count} of {of.resolution} x {of.resolution} points)" for name, of in self.sweep.planes.items()
        )
        return (
            f"Run of {self.sweep.name} in {self.store.root}\n"
            f"  models: {len(self.sweep.models()):,}\n"
            f"  planes: {', '.join(sets)}\n"
            f"  tables: {', '.join(self.tables) or 'none yet'}"
        )

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the stored tables; docs/tables.md describes them."""
        files = self.store.files("scores", ".parquet")
        return tuple(sorted(file.removeprefix("scores/").removesuffix(".parquet") for file in files))

    @property
    def scores(self) -> Mapping[str, pd.DataFrame]:
        """The tables by name, read on demand: `run.scores["groups"]` equals `run.table("groups")`."""
        return _Scores(self)

    def table(self, name: str) -> pd.DataFrame:
        """A table of scores, such as "groups". Shares are from 0 to 1; `_low` and `_high` end a 95 % interval."""
        frame: pd.DataFrame = self.arrow(name).to_pandas()
        return frame

    def arrow(self, name: str) -> pa.Table:
        """The same table in Arrow."""
        if name not in self.tables:
            allowed = ", ".join(self.tables) or ANALYSED
            raise UserError("table", name, reason="is not one of this run", allowed=allowed)
        with files_of_run(f"table {name}", ANALYSED):
            return self.store.read_parquet(self.store.scores_file(name))[0]

    @property
    def findings(self) -> list[str]:
        """The findings of the sweep as sentences with 95 % intervals."""
        with files_of_run(self.store.path(FINDINGS_FILE), ANALYSED):
            return read_findings(self.store).sentences

    @property
    def models(self) -> pd.DataFrame:
        """One row for each model: `model_id` and its configuration, with dotted column names.

        The stage analyse adds `outcome`, `reason`, and `train_error` and `test_error` (shares) after the last epoch; a
        lost model has no errors.
        """
        models = self.sweep.models()
        frame = pd.json_normalize([{"model_id": model.model_id, **model.model_dump(mode="json")} for model in models])
        if "outcomes" in self.tables:
            frame = frame.merge(self.table("outcomes")[["model_id", "outcome", "reason"]], on="model_id", how="left")
        if "models" in self.tables:
            scored = self.table("models")
            last = scored.groupby("model_id")["epoch"].transform("max")
            shown = (scored["epoch"] == last) & (scored["plane_set"] == choose_plane_set(self.sweep))
            frame = frame.merge(scored[shown][["model_id", "train_error", "test_error"]], on="model_id", how="left")
        return frame

    def label_maps(self, model: str, plane_set: str | None = None, epoch: int | None = None) -> NDArray[np.uint8]:
        """Predicted classes, `[planes, rows, columns]`; coordinate b grows with the rows, a with the columns."""
        with self._labelled(model, plane_set, epoch) as key:
            return self.store.read_label_maps(key.plane_set, key.model_id, key.epoch)

    def label_table(self, model: str, plane_set: str | None = None, epoch: int | None = None) -> pa.Table:
        """The same as an Arrow table, one row for each plane; `labels` is its map, row by row."""
        with self._labelled(model, plane_set, epoch) as key:
            return self.store.read_parquet(self.store.labels_file(key.plane_set, key.model_id, key.epoch))[0]

    def picture(self, model: str, plane: int = 0, plane_set: str | None = None, epoch: int | None = None) -> Picture:
        """One plane as in the figures: the finest stored picture, or else the label map.

        Has `labels` `[rows, columns]` and, if stored, `confidence`, the probability of the predicted class.
        """
        with self._labelled(model, plane_set, epoch) as key:
            check_plane(self.sweep.planes[key.plane_set].count, plane)
            return shown_picture(self.store, key._replace(plane=plane))

    @contextmanager
    def _labelled(self, model: str, plane_set: str | None, epoch: int | None) -> Iterator[PictureKey]:
        """Yield the key of the first plane; missing label maps raise UserError within the block."""
        planes, chosen = choose_plane_set(self.sweep, plane_set), choose_model(self.sweep, model, epoch)
        with files_of_run(f"label maps of {chosen.model_id} on {planes}", TRAINED):
            yield PictureKey(chosen.model_id, chosen.epoch, planes, 0)

    def planes(self, plane_set: str | None = None) -> pd.DataFrame:
        """One row for each plane: its grid and three images with classes and coordinates (L2, normalised pixels)."""
        planes = choose_plane_set(self.sweep, plane_set)
        with files_of_run(f"plane set {planes}", EVALUATED):
            frame: pd.DataFrame = self.store.read_parquet(self.store.planes_file(planes))[0].to_pandas()
        return frame

    def plane(self, plane: int = 0, plane_set: str | None = None) -> PlanePicture:
        """One plane: `images` `[3, height, width, 3]` from 0 to 1, coordinates `a` and `b`, and `extent`."""
        planes = choose_plane_set(self.sweep, plane_set)
        check_plane(self.sweep.planes[planes].count, plane)
        with files_of_run(f"plane set {planes}", EVALUATED):
            return plane_picture(self.store, planes, plane)


class _Scores(Mapping[str, pd.DataFrame]):
    """The tables of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self._run.table(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._run.tables)

    def __len__(self) -> int:
        return len(self._run.tables)

    def __contains__(self, name: object) -> bool:
        return name in self._run.tables

    def __repr__(self) -> str:
        return f"tables: {', '.join(self)}"
