"""Runs in a notebook: tables, findings and label maps as pandas, Arrow and numpy; regions and curves on your own axes.

The functions `plot_...` take a `Run` from `load_run`; `plot_regions` and `plot_matrix` also take a `Comparison` from
`dbviz_ray.compare`. Without `ax` they make a new figure with pyplot.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.axes import Axes
from numpy.typing import NDArray

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.store import FINDINGS_FILE, Labels, Picture, PictureKey, Store

from .compare.figures import matrix_of
from .figures.regions import PlanePicture, class_legend, colours_for, draw_regions, plane_picture
from .figures.reproducibility_matrix import draw_matrix, matrix_values
from .figures.style import SERIES_COLOURS, log_ticks, plain, score_line, spaced
from .figures.sweep_tables import check_plane, choose_model, choose_plane_set, short_names, shown_picture
from .findings import read_findings
from .findings.curves import EPOCH, WIDTH, curves
from .scores.group_scores import SCORES
from .scores.groups import at_last_epoch, names_of
from .tables.recipes import at_best_rate

if TYPE_CHECKING:
    from .compare.comparison import Comparison

ANALYSED, EVALUATED = "after the stage analyse", "once the stage evaluate has begun"
TRAINED = "for models that are trained and labelled"
PANEL = 2.6
"""Side of a label map, in inches."""


def load_run(path: str | Path) -> "Run":
    """Open the run directory of a sweep: a path, or an address such as `s3://bucket/runs/double_descent`.

    Reads only the configuration; the rest is read on demand. UserError if it is not a run directory.
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
        sets = self.sweep.planes.items()
        planes = [f"{name} ({of.count} of {of.resolution} x {of.resolution} points)" for name, of in sets]
        return (
            f"Run of {self.sweep.name} in {self.store.root}\n"
            f"  models: {len(self.sweep.models()):,}\n"
            f"  planes: {', '.join(planes)}\n"
            f"  tables: {', '.join(self.tables) or 'none yet'}"
        )

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the stored tables; docs/tables.md describes them."""
        files = self.store.files("scores", ".parquet")
        return tuple(sorted(file.removeprefix("scores/").removesuffix(".parquet") for file in files))

    def table(self, name: str) -> pd.DataFrame:
        """A table of scores, such as "groups". Shares are from 0 to 1; `_low` and `_high` end a 95 % interval."""
        return pd.DataFrame(self.arrow(name).to_pandas())

    def arrow(self, name: str) -> pa.Table:
        """The same table in Arrow."""
        if name not in self.tables:
            allowed = ", ".join(self.tables) or ANALYSED
            raise UserError("table", name, reason="is not one of this run", allowed=allowed)
        with _files_of_run(f"table {name}", ANALYSED):
            return self.store.read_parquet(self.store.scores_file(name))[0]

    @property
    def findings(self) -> list[str]:
        """The findings of the sweep as sentences with 95 % intervals."""
        with _files_of_run(self.store.path(FINDINGS_FILE), ANALYSED):
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
            last = at_last_epoch(self.table("models"))
            shown = last[last["plane_set"] == choose_plane_set(self.sweep)]
            frame = frame.merge(shown[["model_id", "train_error", "test_error"]], on="model_id", how="left")
        return frame

    def label_maps(self, model: str, plane_set: str | None = None, epoch: int | None = None) -> Labels:
        """Predicted classes, `[planes, rows, columns]`; coordinate b grows with the rows, a with the columns."""
        with self._labelled(model, plane_set, epoch) as key:
            return self.store.read_label_maps(key.plane_set, key.model_id, key.epoch)

    def label_table(self, model: str, plane_set: str | None = None, epoch: int | None = None) -> pa.Table:
        """The same as an Arrow table, one row for each plane; `labels` is its map, row by row."""
        with self._labelled(model, plane_set, epoch) as key:
            return self.store.read_parquet(self.store.labels_file(key.plane_set, key.model_id, key.epoch))[0]

    def picture(self, model: str, plane: int = 0, plane_set: str | None = None, epoch: int | None = None) -> Picture:
        """One plane on its finest stored grid: `labels` `[rows, columns]`; `confidence` in them, if stored."""
        with self._labelled(model, plane_set, epoch, plane) as key:
            return shown_picture(self.store, key)

    @contextmanager
    def _labelled(self, model: str, plane_set: str | None, epoch: int | None, plane: int = 0) -> Iterator[PictureKey]:
        """Yield the key of a plane; missing label maps raise UserError within the block."""
        planes, chosen = choose_plane_set(self.sweep, plane_set, plane), choose_model(self.sweep, model, epoch)
        with _files_of_run(f"label maps of {chosen.model_id} on {planes}", TRAINED):
            yield PictureKey(chosen.model_id, chosen.epoch, planes, plane)

    def planes(self, plane_set: str | None = None) -> pd.DataFrame:
        """One row for each plane: its grid and three images with classes and coordinates (L2, normalised pixels)."""
        planes = choose_plane_set(self.sweep, plane_set)
        with _files_of_run(f"plane set {planes}", EVALUATED):
            return pd.DataFrame(self.store.read_parquet(self.store.planes_file(planes))[0].to_pandas())

    def plane(self, plane: int = 0, plane_set: str | None = None) -> PlanePicture:
        """One plane: `images` `[3, height, width, 3]` from 0 to 1, coordinates `a` and `b`, and `extent`."""
        planes = choose_plane_set(self.sweep, plane_set, plane)
        with _files_of_run(f"plane set {planes}", EVALUATED):
            return plane_picture(self.store, planes, plane)


@contextmanager
def _files_of_run(what: str, allowed: str) -> Iterator[None]:
    """UserError if, within the block, a file is damaged or absent; `what` it is, and where it is `allowed`."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(what, reason="does not exist", allowed=allowed) from None
    except DamagedFileError as error:
        again = "a whole file; the command that made it makes it again"
        raise UserError(what, reason=str(error), allowed=again) from None


def plot_regions(
    of: "Run | Comparison",
    models: str | Sequence[str] | None = None,
    plane: int = 0,
    *,
    plane_set: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> NDArray[Any]:
    """Draw the decision regions on one plane, with its three images; returns the axes, `[models]`.

    `models` are models of the run, named as `Run` says, or names of the comparison's models (default: all).
    `plane_set` is one of the run (default: its first). `ax` has one axes for each model. UserError for an unknown
    model, plane set or plane, or the wrong number of axes.
    """
    _check_kind("of", of, "Run", "Comparison")
    wanted = [models] if isinstance(models, str) else list(models or ())
    if isinstance(of, Run):
        chosen = [choose_model(of.sweep, name) for name in wanted]
        if not chosen:
            raise UserError("models", reason="none given", allowed="model_ids of the run, or parts of them")
        names = short_names(chosen)[0] if len(chosen) > 1 else ["-".join(chosen[0].config.name_parts)]
        maps = [of.picture(one.model_id, plane, plane_set, one.epoch).labels for one in chosen]
        picture = of.plane(plane, plane_set)
    else:
        names = list(of.names) if models is None else wanted
        for name in names:
            if name not in of.names:
                raise UserError("models", name, reason="is not one of the comparison", allowed=", ".join(of.names))
        check_plane(of.label_maps.shape[1], plane)
        maps = [of.label_maps[of.names.index(name), plane] for name in names]
        picture = of.picture_of(plane)
    panels = _axes(ax, len(names), (PANEL, PANEL * min(picture.aspect, 1.6) + 0.8))
    colours = colours_for(maps, len(picture.class_names))
    for axes, name, label_map in zip(panels, names, maps, strict=True):
        draw_regions(axes, label_map, picture, colours)
        axes.set_title(name, fontsize=10)
    if ax is None:
        class_legend(panels[0].figure, picture.class_names, "predicted class", maps)
    return panels


def plot_curve(
    run: Run,
    score: str = "test_error",
    over: Literal["width", "epoch"] = "width",
    *,
    plane_set: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a score with 95 % intervals over width (after the last epoch), or over the kept epochs; returns the axes.

    `score` is a column of the table `groups` with an interval, such as "reproducibility". Shares are from 0 to 1,
    margins are L2 distances in normalised pixels. `plane_set` is one of the run (default: its first). UserError for an
    unknown score, or if the run has no curve over this axis.
    """
    _check_kind("run", run, "Run")
    axes_of = {axis.column: axis for axis in (WIDTH, EPOCH)}
    if score not in SCORES:
        raise UserError("score", score, allowed=", ".join(SCORES))
    if over not in axes_of:
        raise UserError("over", over, allowed=", ".join(axes_of))
    groups = run.table("groups")
    groups = groups[groups["plane_set"] == choose_plane_set(run.sweep, plane_set)]
    found = [curve for curve in curves(groups, axes_of[over]) if curve.rows[score].notna().any()]
    if not found:
        raise UserError("over", over, reason=f"does not apply: {run.sweep.name} has no {score} over several {over}s")
    axes: Axes = _axes(ax, 1, (6.4, 3.6))[0]
    noisy = len({curve.key["label_noise"] for curve in found}) > 1
    for place, (curve, colour) in enumerate(zip(found, SERIES_COLOURS * len(found), strict=False)):
        name = f"{curve.name}, label noise {curve.key['label_noise']:g}" if noisy else curve.name
        score_line(axes, curve.rows, over, score, colour, name, at=(place, len(found)))
    plain(axes)
    log_ticks(axes, spaced(sorted({int(value) for curve in found for value in curve.rows[over]})))
    axes.set(xlabel=over, ylabel=score.replace("_", " "))
    axes.legend(fontsize=8, frameon=False)
    return axes


def plot_matrix(
    of: "Run | Comparison", *, label_noise: float | None = None, plane_set: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw how far two trainings agree, for each pair of kinds or of compared models; returns the axes.

    ± is half a 95 % interval. Of a run it shows the groups with this label noise (default: the largest) on this plane
    set (default: the first). UserError if the run has no such label noise or plane set.
    """
    _check_kind("of", of, "Run", "Comparison")
    if isinstance(of, Run):
        planes = choose_plane_set(of.sweep, plane_set)
        groups, between = (table[table["plane_set"] == planes] for table in map(of.table, ("groups", "between_groups")))
        last = at_best_rate(groups)
        allowed = sorted(last["label_noise"].unique())
        noise = allowed[-1] if label_noise is None else label_noise
        if noise not in allowed:
            raise UserError("label_noise", noise, allowed=", ".join(map("{:g}".format, allowed)))
        rows = last[last["label_noise"] == noise]
        names = names_of(rows)
        value, reach = matrix_values(rows, between)
    else:
        names, value, reach = matrix_of(of)
    side = 0.62 * len(names) + 0.085 * max(map(len, names)) + 0.8
    axes: Axes = _axes(ax, 1, (side, side))[0]
    draw_matrix(axes, names, value, reach)
    return axes


def _check_kind(field: str, value: object, *allowed: str) -> None:
    """UserError unless the class of `value` has one of these names: importing `Comparison` would import torch."""
    if type(value).__name__ not in allowed:
        raise UserError(field, reason=f"is {type(value).__name__}", allowed=f"a {' or a '.join(allowed)}")


def _axes(ax: Axes | Sequence[Axes] | None, count: int, size: tuple[float, float]) -> NDArray[Any]:
    """The given axes, or new ones of `size` inches each; `[count]`."""
    if ax is None:
        from matplotlib import pyplot  # selects a backend, which only interactive use needs

        figsize = (size[0] * count, size[1])
        return np.asarray(pyplot.subplots(1, count, squeeze=False, figsize=figsize, layout="constrained")[1][0])
    given = np.ravel(np.asarray(ax, dtype=object))
    if len(given) != count:
        raise UserError("ax", reason=f"{len(given)} axes are given", allowed=f"{count}, one for each panel")
    return given
