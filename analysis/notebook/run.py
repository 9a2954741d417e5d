"""A sweep's run in a notebook: its scores, findings, models, planes and label maps, as pandas, Arrow and numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.store import FINDINGS_FILE, Picture, PictureKey, Store

from ..figures.choices import TRAINED, check_plane, choose_model, choose_plane_set, reading
from ..figures.regions import PlanePicture, plane_picture
from ..figures.sweep_tables import shown_picture
from ..findings import read_findings

ANALYSED = "a run whose stage analyse is done"


def load_run(path: str | Path) -> Run:
    """Open the run directory of a sweep: a path, or an address such as `s3://bucket/runs/double_descent`.

    Nothing but its configuration is read until it is asked for. No network is loaded, and nothing is written.

    Raises:
        UserError: if it is not a run directory.
    """
    store = Store(path)
    return Run(store, store.sweep())


@dataclass(frozen=True, repr=False)
class Run:
    """What a sweep has left in its run directory; made by `load_run`.

    A model is named by its model_id or a part of it that no other model has, and `@32` behind it means the snapshot
    after epoch 32; where no epoch is named it is the last one, where no plane set is named the sweep's first one.
    Whatever is not there, or is damaged, raises UserError, in a line that says what is allowed.
    """

    store: Store
    sweep: SweepConfig
    """The whole configuration, as the sweep resolved it."""

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
        """Names of the tables of scores that are there; docs/tables.md says what is in each."""
        files = self.store.files("scores", ".parquet")
        return tuple(sorted(file.removeprefix("scores/").removesuffix(".parquet") for file in files))

    @property
    def scores(self) -> Mapping[str, pd.DataFrame]:
        """The tables by name, each read when it is asked for: `run.scores["groups"]` is `run.table("groups")`."""
        return _Scores(self)

    def table(self, name: str) -> pd.DataFrame:
        """A table of scores, such as "groups". Shares are from 0 to 1, `_low` and `_high` ends of 95 % intervals."""
        frame: pd.DataFrame = self.arrow(name).to_pandas()
        return frame

    def arrow(self, name: str) -> pa.Table:
        """The same as an Arrow table."""
        if name not in self.tables:
            raise UserError(f"table: {name!r} is not one of this run; allowed: {', '.join(self.tables) or ANALYSED}")
        with reading(f"table {name}", ANALYSED):
            return self.store.read_parquet(self.store.scores_file(name))[0]

    @property
    def findings(self) -> list[str]:
        """What the sweep found, in sentences; intervals in them are 95 % ones."""
        with reading(self.store.path(FINDINGS_FILE), ANALYSED):
            return read_findings(self.store).sentences

    @property
    def models(self) -> pd.DataFrame:
        """One row a model: `model_id`, every field of its configuration by its dotted name, `outcome` and `reason`, and
        `train_error` and `test_error` (shares) after its last epoch.

        The last four are there when the stage analyse has run; errors are missing where a model was lost.
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
        """The classes that a model predicts, `[planes, rows, columns]`; b ascends with the rows, a with the columns."""
        planes, chosen = choose_plane_set(self.sweep, plane_set), choose_model(self.sweep, model, epoch)
        with reading(f"label maps of {chosen.model_id} on {planes}", TRAINED):
            return self.store.read_label_maps(planes, chosen.model_id, chosen.epoch)

    def label_table(self, model: str, plane_set: str | None = None, epoch: int | None = None) -> pa.Table:
        """The same as an Arrow table, one row a plane: in `labels` its rows one after another."""
        planes, chosen = choose_plane_set(self.sweep, plane_set), choose_model(self.sweep, model, epoch)
        with reading(f"label maps of {chosen.model_id} on {planes}", TRAINED):
            return self.store.read_parquet(self.store.labels_file(planes, chosen.model_id, chosen.epoch))[0]

    def picture(self, model: str, plane: int = 0, plane_set: str | None = None, epoch: int | None = None) -> Picture:
        """One plane as figures show it: on a finer grid where the run has such a picture, else the label map.

        `labels` `[rows, columns]`, and `confidence`, the predicted class's probability, where the run stores it.
        """
        planes, chosen = choose_plane_set(self.sweep, plane_set), choose_model(self.sweep, model, epoch)
        check_plane(self.sweep, planes, plane)
        with reading(f"label maps of {chosen.model_id} on {planes}", TRAINED):
            return shown_picture(self.store, PictureKey(chosen.model_id, chosen.epoch, planes, plane))

    def planes(self, plane_set: str | None = None) -> pd.DataFrame:
        """One row a plane: its three images, their classes and coordinates (L2 in normalised pixels), and its grid."""
        planes = choose_plane_set(self.sweep, plane_set)
        with reading(f"plane set {planes}", "a run whose stage evaluate has begun"):
            frame: pd.DataFrame = self.store.read_parquet(self.store.planes_file(planes))[0].to_pandas()
        return frame

    def plane(self, plane: int = 0, plane_set: str | None = None) -> PlanePicture:
        """One plane: `images` `[3, height, width, 3]` (0 to 1), their places `a` and `b`, and its grid's `extent`."""
        planes = choose_plane_set(self.sweep, plane_set)
        check_plane(self.sweep, planes, plane)
        with reading(f"plane set {planes}", "a run whose stage evaluate has begun"):
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
