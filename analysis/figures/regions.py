"""One plane as a picture: a label map, or shares, with the three images where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Patch
from numpy.typing import NDArray

from analysis.figures.style import class_colours
from dbviz_ray.store import Store


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

    @property
    def aspect(self) -> float:
        """Height over width of the grid."""
        left, right, bottom, top = self.extent
        return (top - bottom) / (right - left)


def plane_picture(store: Store, plane_set: str, plane: int) -> PlanePicture:
    """One plane of a stored plane set."""
    table, facts = store.read_parquet(store.planes_file(plane_set))
    row = table.slice(plane, 1).to_pylist()[0]
    channels, height, width = facts["image_shape"]
    mean, deviation = (np.array(facts[name]).reshape(-1, 1, 1) for name in ("mean", "deviation"))
    pixels = np.array(row["anchors"]).reshape(3, channels, height, width) * deviation + mean
    return PlanePicture(
        images=displayable(pixels),
        a=np.array(row["anchor_a"]),
        b=np.array(row["anchor_b"]),
        extent=(*row["a_range"], *row["b_range"]),
        class_names=facts["class_names"],
    )


def displayable(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Images `[n, channels, height, width]` in pixels from 0 to 1 as `[n, height, width, 3]`."""
    images = np.moveaxis(np.clip(pixels, 0, 1), 1, -1)
    return images[..., :3] if images.shape[-1] >= 3 else np.repeat(images[..., :1], 3, axis=-1)


def draw_regions(axes: Axes, label_map: NDArray[np.uint8], picture: PlanePicture) -> None:
    """One label map `[rows, columns]`, one colour a class, with the three images where they lie."""
    classes = len(picture.class_names)
    _draw(axes, label_map, picture, cmap=ListedColormap(class_colours(classes)), vmin=-0.5, vmax=classes - 0.5)


def draw_share(axes: Axes, shares: NDArray[np.float64], picture: PlanePicture) -> None:
    """Shares `[rows, columns]` from 0 (white) to 1 (black), with the three images where they lie."""
    _draw(axes, shares, picture, cmap="Greys", vmin=0, vmax=1)


def _draw(axes: Axes, values: NDArray[Any], picture: PlanePicture, **colours: Any) -> None:
    axes.imshow(values, origin="lower", extent=picture.extent, interpolation="nearest", aspect="equal", **colours)
    for image, a, b in zip(picture.images, picture.a, picture.b, strict=True):
        thumbnail = OffsetImage(image, zoom=22 / image.shape[0], interpolation="nearest")
        axes.add_artist(AnnotationBbox(thumbnail, (a, b), pad=0.08, bboxprops={"edgecolor": "black", "linewidth": 1}))
    axes.set_xticks([])
    axes.set_yticks([])


def class_legend(
    figure: Figure, class_names: Sequence[str], title: str, shown: Sequence[int] | None = None, abreast: int = 10
) -> None:
    """The title, and one patch for each of the `shown` classes (all), under the figure.

    What else is to be said there goes into the title: two texts would lie upon one another.
    """
    colours = class_colours(len(class_names))
    labels = range(len(class_names)) if shown is None else shown
    patches = [Patch(color=colours[label], label=class_names[label]) for label in labels]
    legend = figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=min(len(patches), abreast),
        fontsize=8,
        frameon=False,
        handlelength=1,
        columnspacing=1,
        title=title,
        title_fontsize=8,
    )
    legend.get_title().set_multialignment("center")
