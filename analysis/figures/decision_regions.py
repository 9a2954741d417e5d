"""Decision regions of trainings that differ in their seeds alone: the paper's Figures 7 and 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from analysis.figures.style import class_colours
from analysis.findings import curves, telling_widths
from analysis.tables import read_table
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

MAX_COLUMNS = 5


@dataclass(frozen=True)
class PlanePicture:
    """One plane as a picture needs it."""

    images: NDArray[np.float64]
    """The three images, `[3, height, width, 3]`, pixels from 0 to 1."""
    a: NDArray[np.float64]
    """Coordinates of the images, `[3]`, and likewise `b`."""
    b: NDArray[np.float64]
    extent: tuple[float, float, float, float]
    """Left, right, bottom and top of the grid."""
    class_names: Sequence[str]


def decision_regions(store: Store, sweep: SweepConfig) -> Figure:
    """Rows: telling widths of the noisiest curve; columns: seeds; every picture shows the same plane.

    The plane is the first of the first plane set, so it was not chosen for its looks.
    """
    plane_set = next(iter(sweep.planes))
    picture = plane_picture(store, plane_set, plane=0)
    candidates = [(key, curve) for key, curve in curves(read_table(store, "double_descent")) if key["plane_set"] == plane_set]
    key, curve = max(candidates, key=lambda item: item[0]["label_noise"])
    rows = dict(sorted(telling_widths(curve).items(), key=lambda item: item[1]))
    models = read_table(store, "models")
    models = models[(models["architecture"] == key["architecture"]) & (models["label_noise"] == key["label_noise"])]
    models = models[models["plane_set"] == plane_set]
    columns = min(MAX_COLUMNS, max(curve["n_models"]))
    figure = Figure(figsize=(2.2 * columns + 1.4, 2.3 * len(rows) + 1.1), layout="constrained")
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
    _legend(figure, picture.class_names)
    figure.suptitle(f"{key['architecture']}, label noise {key['label_noise']:g}: one plane, seen by networks\n"
                    "that differ in their seeds alone", fontsize=11)
    return figure


def plane_picture(store: Store, plane_set: str, plane: int) -> PlanePicture:
    """One plane of a stored plane set."""
    table, facts = store.read_parquet(store.planes_file(plane_set))
    row = table.slice(plane, 1).to_pylist()[0]
    channels, height, width = facts["image_shape"]
    mean, deviation = (np.array(facts[name]).reshape(-1, 1, 1) for name in ("mean", "deviation"))
    pixels = np.array(row["anchors"]).reshape(3, channels, height, width) * deviation + mean
    images = np.moveaxis(pixels, 1, -1)
    images = np.repeat(images, 3, axis=-1) if channels == 1 else images[..., :3]
    return PlanePicture(
        images=np.clip(images, 0, 1),
        a=np.array(row["anchor_a"]),
        b=np.array(row["anchor_b"]),
        extent=(*row["a_range"], *row["b_range"]),
        class_names=facts["class_names"],
    )


def draw_regions(axes: Axes, label_map: NDArray[np.uint8], picture: PlanePicture) -> None:
    """One label map `[rows, columns]`, one colour a class, with the three images where they lie."""
    classes = len(picture.class_names)
    axes.imshow(
        label_map,
        cmap=class_colours(classes),
        vmin=-0.5,
        vmax=classes - 0.5,
        origin="lower",
        extent=picture.extent,
        interpolation="nearest",
        aspect="equal",
    )
    for image, a, b in zip(picture.images, picture.a, picture.b, strict=True):
        thumbnail = OffsetImage(image, zoom=22 / image.shape[0], interpolation="nearest")
        axes.add_artist(AnnotationBbox(thumbnail, (a, b), pad=0.08, bboxprops={"edgecolor": "black", "linewidth": 1}))
    axes.set_xticks([])
    axes.set_yticks([])


def _label_row(axes: Axes, name: str, row: pd.Series[Any]) -> None:
    axes.set_ylabel(f"width {row['width']}\n({name})\ntest error {row['test_error']:.0%}", fontsize=9)


def _legend(figure: Figure, class_names: Sequence[str]) -> None:
    colours = class_colours(len(class_names)).colors
    patches = [Patch(color=colour, label=name) for colour, name in zip(colours, class_names, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=min(len(patches), 10), fontsize=8,
                  frameon=False, handlelength=1, columnspacing=1, title="predicted class", title_fontsize=8)
