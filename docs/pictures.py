"""Draws two pictures from a finished run of a sweep over the width: plane.png and regions.png. docs/concepts.md shows
the first of double_descent_digits, README.md the second of double_descent_small.

python docs/pictures.py RUN FOLDER
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch

from dbviz_ray import Run, load_run, plot_regions
from dbviz_ray.analysis.figures.regions import PlanePicture, class_legend
from dbviz_ray.analysis.figures.style import class_colours
from dbviz_ray.analysis.findings.curves import WIDTH, curves

PLANE_SET, PLANE = "test", 0
POINTS_SHOWN = 6
"""On each side of the plane, as images."""
WIDEST = 64
"""The picture of one plane shows networks of at most this width."""
EDGES = "#CC3311", "#0077BB", "#009988"


def plane_picture(run: Run) -> Figure:
    """A plane as images, the label maps of two trainings, and the points on which they agree."""
    plane = run.plane(PLANE, PLANE_SET)
    class_names, (left, right, bottom, top) = plane.class_names, plane.extent
    maps = [
        run.picture(model, PLANE, PLANE_SET).labels
        for model in trainings(run, run.models["width"].loc[lambda widths: widths <= WIDEST].max())
    ]
    figure, panels = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    colours, classes = class_colours(len(class_names)), len(class_names)
    _points(panels[0], plane)
    titles = "label map of a network", "label map of another training"
    for axes, labels, title in zip(panels[1:3], maps, titles, strict=True):
        axes.imshow(
            labels, origin="lower", extent=plane.extent, cmap=ListedColormap(colours), vmin=-0.5, vmax=classes - 0.5
        )
        axes.set_title(title)
    same = maps[0] == maps[1]
    panels[3].imshow(same, origin="lower", extent=plane.extent, cmap="Greys_r", vmin=-0.4, vmax=1)
    panels[3].set_title(f"white: they agree ({same.mean():.0%})")
    for axes in panels:
        axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
        for a, b, edge in zip(plane.a, plane.b, EDGES, strict=True):
            axes.plot(a, b, "o", color=edge, markeredgecolor="white", markersize=9, markeredgewidth=1.5)
    seen = sorted(set(np.unique(maps)))
    handles = [Patch(color=colours[label], label=class_names[label]) for label in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(seen), title="predicted class", frameon=False)
    return figure


def regions_picture(run: Run) -> Figure:
    """Label maps of two trainings at three representative widths, with the most label noise."""
    groups = run.table("groups")
    noisiest = groups[(groups["plane_set"] == PLANE_SET) & (groups["label_noise"] == groups["label_noise"].max())]
    curve = curves(noisiest, WIDTH, run.table("peaks"))[0]
    rows = curve.rows.loc[sorted(curve.shown_rows.values())[-3:]]
    figure, panels = plt.subplots(2, len(rows), figsize=(9, 5.4), layout="constrained")
    for column, (_, row) in zip(panels.T, rows.iterrows(), strict=True):
        plot_regions(run, trainings(run, row["width"]), PLANE, plane_set=PLANE_SET, ax=column)
        column[0].set_title(
            f"width {row['width']}: test error {row['test_error']:.0%},\n"
            f"two trainings agree on {row['reproducibility']:.0%}",
            fontsize=10,
            pad=16,  # images may stand across the edge
        )
        column[1].set_title("")
    for number, axes in enumerate(panels[:, 0], 1):
        axes.set_ylabel(f"training {number}", fontsize=10)
    class_legend(figure, run.plane(PLANE, PLANE_SET).class_names, "predicted class", [], every=True)
    return figure


def trainings(run: Run, width: int) -> list[str]:
    """model_ids of two models of a width with the most label noise."""
    models = run.models
    noisy = models[(models["label_noise"] == models["label_noise"].max()) & (models["width"] == width)]
    return list(noisy["model_id"][:2])


def _points(axes: Axes, plane: PlanePicture) -> None:
    """Draw some points of the plane as images: sums of the three images, with weights that add up to 1."""
    left, right, bottom, top = plane.extent
    shares = np.linspace(0, 1, POINTS_SHOWN + 2)[1:-1]
    apart = (right - left) * (shares[1] - shares[0])
    corners = np.stack([plane.a, plane.b, np.ones(3)])
    for a, b in itertools.product(left + (right - left) * shares, bottom + (top - bottom) * shares):
        if np.hypot(plane.a - a, plane.b - b).min() > 0.8 * apart:
            weights = np.linalg.solve(corners, [a, b, 1])
            _image(axes, np.tensordot(weights, plane.images, 1).clip(0, 1), a, b, "0.6")
    for image, a, b, edge in zip(plane.images, plane.a, plane.b, EDGES, strict=True):
        _image(axes, image, a, b, edge, side=34)
    axes.set_title("a plane through three images")


def _image(axes: Axes, pixels: np.ndarray, a: float, b: float, edge: str, side: float = 23) -> None:
    box = {"edgecolor": edge, "linewidth": 2.5 if side > 23 else 0.5}
    image = OffsetImage(pixels, zoom=side / max(pixels.shape[:2]), interpolation="nearest")
    axes.add_artist(AnnotationBbox(image, (a, b), pad=0.05, bboxprops=box))


if __name__ == "__main__":
    of, folder = load_run(sys.argv[1]), Path(sys.argv[2])
    plane_picture(of).savefig(folder / "plane.png", dpi=110)
    regions_picture(of).savefig(folder / "regions.png", dpi=110)
