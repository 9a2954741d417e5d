"""Decision regions of trainings that differ in their seeds alone, and where they disagree: the paper's Figures 3, 7 and
8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.label_maps import on_one_grid, shown_map
from analysis.figures.regions import PlanePicture, class_legend, draw_regions, draw_share, plane_picture
from analysis.figures.style import range_text
from analysis.figures.telling_groups import shown_groups
from analysis.groups import GROUP, Group, records
from analysis.tables import read_table
from dbviz_ray.config import Seeds, SweepConfig
from dbviz_ray.store import Store

MAX_COLUMNS = 5


def decision_regions(store: Store, sweep: SweepConfig) -> Figure:
    """Rows: telling groups; columns: trainings, and at the right where all trainings of the row disagree.

    Every picture shows the same plane. It is the first of the first plane set, so it was not chosen for its looks.
    """
    plane_set = next(iter(sweep.planes))
    picture = plane_picture(store, plane_set, plane=0)
    models = read_table(store, "models")
    models = models[models["plane_set"] == plane_set]
    rows, common = shown_groups(store, sweep)
    most = max(rows["n_models"])
    shown = min(MAX_COLUMNS, most)
    columns = shown + (most > 1)
    height = 2.2 * picture.aspect + 0.15
    wide = max(5.0, 2.2 * columns + 0.7 + 0.9 * (most > 1))
    figure = Figure(figsize=(wide, height * len(rows) + 1.5), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, group in zip(grid, records(rows), strict=True):
        members = records(models[(models[GROUP] == [group[column] for column in GROUP]).all(axis=1)])
        maps = [shown_map(store, plane_set, m["model_id"], m["epoch"]) for m in members]
        _draw_row(axes_row, group, on_one_grid(maps), _group(group, members), picture, shown)
    for column, axes in enumerate(grid[0, :shown]):
        axes.set_title(f"training {column + 1}", fontsize=10)
    if most > 1:
        grid[0, -1].set_title("disagreement", fontsize=10)
        drawn = next(axes.images[0] for axes in grid[:, -1] if axes.images)
        bar = figure.colorbar(drawn, ax=grid, shrink=min(1.0, 2 / len(rows)), aspect=25, pad=0.01)
        bar.set_label("share of pairs that disagree", fontsize=9)
    class_legend(figure, picture.class_names, f"{_caption(rows['n_models'], shown)}\npredicted class")
    seen = f"{common}: one plane" if common else "One plane"
    figure.suptitle(f"{seen}, seen by networks\nthat differ, in each row, in their seeds alone", fontsize=11)
    return figure


def disagreement(labels: NDArray[np.uint8], pairs: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of pairs of trainings whose classes differ on each point, `[rows, columns]`.

    Args:
        labels: `[trainings, rows, columns]`, predicted classes.
        pairs: `[trainings, trainings]`, symmetric: which pairs count.
    """
    differing = np.zeros(labels.shape[1:])
    for label_map, others in zip(labels, pairs, strict=True):
        differing += (labels[others] != label_map).sum(axis=0)
    return np.asarray(differing / pairs.sum())


def _draw_row(
    row: Sequence[Axes],
    group: dict[str, Any],
    maps: NDArray[np.uint8],
    of_maps: Group,
    picture: PlanePicture,
    shown: int,
) -> None:
    row[0].set_ylabel(f"{group['text']}\n{group['tested_on']} error {group['test_error']:.0%}", fontsize=9)
    for axes, label_map in zip(row[:shown], maps, strict=False):
        draw_regions(axes, label_map, picture)
    for axes in row[len(maps) :]:
        axes.set_axis_off()
    if len(maps) > 1:
        row[-1].set_axis_on()
        draw_share(row[-1], disagreement(maps, of_maps.independent), picture)


def _group(group: dict[str, Any], members: Sequence[dict[str, Any]]) -> Group:
    """The trainings of a row, which tells which of their pairs are independent, as for reproducibility."""
    seeds = tuple(Seeds(**{name: int(member[f"{name}_seed"]) for name in Seeds.model_fields}) for member in members)
    return Group({column: group[column] for column in GROUP}, np.arange(len(members)), seeds)


def _caption(counts: Any, shown: int) -> str:
    text = f"{range_text(counts)} trainings a row" + f", of which {shown} are shown" * bool(counts.max() > shown)
    if counts.max() == 1:
        return text
    return f"{text}; grey: share of all their pairs (that differ in every seed that is varied) that disagree on a point"
