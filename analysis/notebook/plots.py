"""Draw regions, curves and matrices on your own axes, in a notebook or for a paper.

Every function takes a `Run` from `load_run`; `plot_regions` and `plot_matrix` also take a `Comparison` from
`dbviz_ray.compare`. Without `ax` they make a new figure with pyplot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from dbviz_ray.errors import UserError

from ..compare.figures import matrix_of
from ..compare.scores import Scores
from ..figures.choices import check_plane, choose_model, choose_plane_set, short_names
from ..figures.regions import PlanePicture, class_legend, colours_for, draw_regions
from ..figures.reproducibility_matrix import draw_matrix, matrix_values
from ..figures.style import SERIES_COLOURS, band, log_ticks, plain, spaced
from ..findings.curves import EPOCH, WIDTH, curves
from ..scores.group_scores import SCORES
from ..scores.groups import names_of
from ..tables.recipes import at_best_rate
from .run import Run

PANEL = 2.6
"""Side of a label map, in inches."""


class Labelled(Protocol):
    """The part of a `dbviz_ray.Comparison` that is drawn here."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models."""

    @property
    def label_maps(self) -> NDArray[np.uint8]:
        """`[models, planes, rows, columns]`."""

    def picture_of(self, plane: int) -> PlanePicture:
        """One plane."""


def plot_regions(
    of: Run | Labelled,
    models: str | Sequence[str] | None = None,
    plane: int = 0,
    *,
    plane_set: str | None = None,
    ax: Axes | Sequence[Axes] | None = None,
) -> NDArray[Any]:
    """Decision regions on one plane, one panel for each model, with the plane's three images.

    Args:
        of: A run, or a comparison.
        models: For a run, model_ids or parts of them; append `@32` for epoch 32. For a comparison, names of its models
            (default: all).
        plane: Number of the plane.
        plane_set: A plane set of the run (default: its first).
        ax: One axes for each model.

    Returns:
        The axes, `[models]`.

    Raises:
        UserError: for an unknown model, plane set or plane, or the wrong number of axes.
    """
    if isinstance(of, Run):
        wanted = [models] if isinstance(models, str) else list(models or ())
        chosen = [choose_model(of.sweep, name) for name in wanted]
        if not chosen:
            raise UserError("models", reason="none given", allowed="model_ids of the run, or parts of them")
        names = short_names(chosen)[0] if len(chosen) > 1 else ["-".join(chosen[0].config.name_parts)]
        maps = [of.picture(one.model_id, plane, plane_set, one.epoch).labels for one in chosen]
        picture = of.plane(plane, plane_set)
    else:
        names = list(of.names) if models is None else [models] if isinstance(models, str) else list(models)
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
        seen = sorted({int(label) for label_map in maps for label in np.unique(label_map)})
        class_legend(panels[0].figure, picture.class_names, "predicted class", seen, colours)
    return panels


def plot_curve(
    run: Run,
    score: str = "test_error",
    over: Literal["width", "epoch"] = "width",
    *,
    plane_set: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A score with 95 % intervals over width (after the last epoch), or over the kept epochs.

    Args:
        run: A run whose stage analyse is done.
        score: A column of the table `groups` with an interval, such as "reproducibility". Shares are from 0 to 1,
            margins are L2 distances in normalised pixels.
        over: The x axis.
        plane_set: A plane set of the run (default: its first).
        ax: Where to draw.

    Raises:
        UserError: for an unknown score, or if the run has no curve over this axis.
    """
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
    for curve, colour in zip(found, SERIES_COLOURS * len(found), strict=False):
        name = f"{curve.name}, label noise {curve.key['label_noise']:g}" if noisy else curve.name
        band(axes, curve.rows, over, score, colour, name)
    plain(axes)
    ticks = spaced(sorted({int(value) for curve in found for value in curve.rows[over]}))
    log_ticks(axes, ticks)
    axes.set(xlabel=over, ylabel=score.replace("_", " "))
    axes.legend(fontsize=8, frameon=False)
    return axes


def plot_matrix(
    of: Run | Scores, *, label_noise: float | None = None, plane_set: str | None = None, ax: Axes | None = None
) -> Axes:
    """How far two trainings agree, for each pair of kinds or of compared models; ± is half a 95 % interval.

    Args:
        of: A run whose stage analyse is done, or a comparison.
        label_noise: Shows the run's groups with this label noise (default: the largest).
        plane_set: A plane set of the run (default: its first).
        ax: Where to draw.

    Raises:
        UserError: for an unknown label noise or plane set.
    """
    if isinstance(of, Run):
        planes = choose_plane_set(of.sweep, plane_set)
        groups, between = (of.table(name) for name in ("groups", "between_groups"))
        last = at_best_rate(groups[groups["plane_set"] == planes])
        allowed = sorted(last["label_noise"].unique())
        noise = allowed[-1] if label_noise is None else label_noise
        if noise not in allowed:
            raise UserError("label_noise", noise, allowed=", ".join(map("{:g}".format, allowed)))
        rows = last[last["label_noise"] == noise]
        names = names_of(rows)
        value, reach = matrix_values(rows, between[between["plane_set"] == planes])
    else:
        names, value, reach = matrix_of(of)
    side = 0.62 * len(names) + 0.085 * max(map(len, names)) + 0.8
    axes: Axes = _axes(ax, 1, (side, side))[0]
    draw_matrix(axes, names, value, reach)
    return axes


def _axes(ax: Axes | Sequence[Axes] | None, count: int, size: tuple[float, float]) -> NDArray[Any]:
    """The given axes, or new ones of `size` inches each; `[count]`."""
    if ax is None:
        from matplotlib import pyplot  # selects a backend, which only interactive use needs

        figsize = (size[0] * count, size[1])
        return np.asarray(pyplot.subplots(1, count, squeeze=False, figsize=figsize, layout="constrained")[1][0])
    given = np.asarray([ax] if isinstance(ax, Axes) else list(np.ravel(np.asarray(ax, dtype=object))), dtype=object)
    if len(given) != count:
        raise UserError("ax", reason=f"{len(given)} axes are given", allowed=f"{count}, one for each panel")
    return given
