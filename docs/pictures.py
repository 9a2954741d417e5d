"""The picture of docs/concepts.md, from a finished run.

python docs/pictures.py RUN FILE
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch

from analysis.figures.style import class_colours
from dbviz_ray.planes import PlaneSet
from dbviz_ray.records import load_planes
from dbviz_ray.store import Store

PLANE_SET, PLANE = "test", 0
POINTS_SHOWN = 6
"""On each side of the plane, as images."""
EDGES = "#CC3311", "#0077BB", "#009988"


def picture(store: Store) -> Figure:
    """A plane as images, two trainings' label maps of it, and where they agree."""
    planes, class_names = load_planes(store, PLANE_SET)
    sweep = store.sweep()
    noisy = max(model.label_noise for model in sweep.models())
    first, second = [model for model in sweep.models() if (model.label_noise, model.width) == (noisy, 64)][:2]
    maps = [
        store.read_label_maps(PLANE_SET, model.model_id, model.training.epochs, slice(PLANE, PLANE + 1))[0]
        for model in (first, second)
    ]
    (left, *_, right), (bottom, *_, top) = planes.axes[PLANE].tolist()
    extent = left, right, bottom, top
    figure = Figure(figsize=(13, 3.4), layout="constrained")
    panels = figure.subplots(1, 4)
    colours, classes = class_colours(len(class_names)), len(class_names)
    _points(panels[0], planes)
    for axes, labels, title in zip(
        panels[1:3], maps, ("label map of a network", "label map of another training"), strict=True
    ):
        axes.imshow(labels, origin="lower", extent=extent, cmap=ListedColormap(colours), vmin=-0.5, vmax=classes - 0.5)
        axes.set_title(title)
    same = maps[0] == maps[1]
    panels[3].imshow(same, origin="lower", extent=extent, cmap="Greys_r", vmin=-0.4, vmax=1)
    panels[3].set_title(f"they agree (white) on {same.mean():.0%} of the points")
    for axes in panels:
        axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")
        for (a, b), edge in zip(planes.coordinates[PLANE].tolist(), EDGES, strict=True):
            axes.plot(a, b, "o", color=edge, markeredgecolor="white", markersize=9, markeredgewidth=1.5)
    seen = sorted(set(np.unique(maps)))
    handles = [Patch(color=colours[label], label=class_names[label]) for label in seen]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(seen), title="predicted class", frameon=False)
    return figure


def _points(axes: Axes, planes: PlaneSet) -> None:
    """Some points of the plane as what they are: images."""
    x1, e1, e2 = planes.basis[PLANE]
    shape = planes.image_shape[1:]
    axis_a, axis_b = planes.axes[PLANE]
    steps = np.linspace(0, planes.resolution - 1, POINTS_SHOWN + 2)[1:-1].round().astype(int)
    apart = float(axis_a[steps[1]] - axis_a[steps[0]])
    for a, b in itertools.product(axis_a[steps].tolist(), axis_b[steps].tolist()):
        if (planes.coordinates[PLANE] - torch.tensor([a, b])).norm(dim=1).min() > 0.8 * apart:
            _image(axes, (x1 + a * e1 + b * e2).view(shape).clamp(0, 1).numpy(), a, b, "0.6")
    for anchor, (a, b), edge in zip(planes.anchors[PLANE], planes.coordinates[PLANE].tolist(), EDGES, strict=True):
        _image(axes, anchor.view(shape).numpy(), a, b, edge, zoom=4.2)
    axes.set_title("a plane through three images")


def _image(axes: Axes, pixels: np.ndarray, a: float, b: float, edge: str, zoom: float = 2.9) -> None:
    box = {"edgecolor": edge, "linewidth": 2.5 if zoom > 3 else 0.5}
    image = OffsetImage(pixels, zoom=zoom, cmap="Greys", interpolation="nearest")
    axes.add_artist(AnnotationBbox(image, (a, b), pad=0.05, bboxprops=box))


if __name__ == "__main__":
    picture(Store(sys.argv[1])).savefig(sys.argv[2], dpi=110)
