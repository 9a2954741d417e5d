"""Decision regions of trainings that differ in their seeds alone: the paper's Figures 7 and 8."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.regions import class_legend, draw_regions, plane_picture
from analysis.findings import curves, shown_rows
from analysis.tables import read_table
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

MAX_COLUMNS = 5


def decision_regions(store: Store, sweep: SweepConfig) -> Figure:
    """Rows: telling widths of the noisiest curve; columns: seeds; every picture shows the same plane.

    The plane is the first of the first plane set, so it was not chosen for its looks.
    """
    plane_set = next(iter(sweep.planes))
    picture = plane_picture(store, plane_set, plane=0)
    candidates = [
        (key, curve) for key, curve in curves(read_table(store, "double_descent")) if key["plane_set"] == plane_set
    ]
    key, curve = max(candidates, key=lambda item: item[0]["label_noise"])
    rows = shown_rows(curve)
    models = read_table(store, "models")
    models = models[(models["architecture"] == key["architecture"]) & (models["label_noise"] == key["label_noise"])]
    models = models[models["plane_set"] == plane_set]
    columns = min(MAX_COLUMNS, max(curve["n_models"]))
    height = 2.2 * picture.aspect + 0.15
    figure = Figure(figsize=(2.2 * columns + 0.6, height * len(rows) + 1.3), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, (name, row) in zip(grid, rows.items(), strict=True):
        at_width = models[models["width"] == curve["width"][row]]
        _label_row(axes_row[0], name, curve.iloc[row])
        for axes, (_, model) in zip(axes_row, at_width.iterrows(), strict=False):
            draw_regions(axes, store.read_label_maps(plane_set, model["model_id"])[0], picture)
        for axes in axes_row[len(at_width) :]:
            axes.set_axis_off()
    for column, axes in enumerate(grid[0]):
        axes.set_title(f"training {column + 1}", fontsize=10)
    class_legend(figure, picture.class_names)
    figure.suptitle(
        f"{key['architecture']}, label noise {key['label_noise']:g}: one plane, seen by networks\n"
        "that differ in their seeds alone",
        fontsize=11,
    )
    return figure


def _label_row(axes: Axes, name: str, row: pd.Series[Any]) -> None:
    axes.set_ylabel(f"width {row['width']}\n({name})\ntest error {row['test_error']:.0%}", fontsize=9)
