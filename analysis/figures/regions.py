"""Draws one plane: a label map, or shares, with the three images at their places."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from dbviz_ray.store import Store

from .style import CAPTION_COLOUR, CAPTION_SIZE, CLASS_COLOURS, class_colours, lines

Colours = Sequence[tuple[float, float, float]]
THUMBNAIL, FLAT = 0.15, 0.3
"""The larger side of an image, as a share of the plane's smaller side."""
FADED = 0.8
"""How much a colour fades to white if the predicted class is no more probable than chance."""
OTHERS = (0.55, 0.55, 0.55)
MAX_COLOURS = 2 * len(CLASS_COLOURS)
MAX_LETTERS = 24
"""Letters of a class's name in a legend."""


@dataclass(frozen=True)
class PlanePicture:
    """What a picture of a plane needs apart from the label map."""

    images: NDArray[np.float64]
    """The three images, `[3, height, width, 3]`, pixels from 0 to 1."""
    a: NDArray[np.float64]
    """Coordinates of the images along the first axis, `[3]`; `b` along the second."""
    b: NDArray[np.float64]
    extent: tuple[float, float, float, float]
    """Left, right, bottom and top ends of the grid."""
    class_names: Sequence[str]

    @property
    def aspect(self) -> float:
        """Height over width of the grid."""
        left, right, bottom, top = self.extent
        return (top - bottom) / (right - left)


def plane_picture(store: Store, plane_set: str, plane: int) -> PlanePicture:
    """Read one plane of a stored plane set."""
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
    """Clip images `[n, channels, height, width]` to 0 to 1 and return them as `[n, height, width, 3]`."""
    images = np.moveaxis(np.clip(pixels, 0, 1), 1, -1)
    return images[..., :3] if images.shape[-1] >= 3 else np.repeat(images[..., :1], 3, axis=-1)


def colours_for(label_maps: Iterable[NDArray[np.uint8]], classes: int) -> Colours:
    """One colour for each class, for a figure that shows these maps.

    With more than ten classes, the ten that cover most of the maps get the ten colours, the next ten lighter shades,
    and all others grey.
    """
    if classes <= len(CLASS_COLOURS):
        return class_colours(classes)
    areas = sum((np.bincount(labels.ravel(), minlength=classes) for labels in label_maps), np.zeros(classes, dtype=int))
    colours = [OTHERS] * classes
    for label, colour in zip(np.argsort(-areas, kind="stable"), class_colours(MAX_COLOURS), strict=False):
        colours[label] = colour
    return colours


def draw_regions(
    axes: Axes,
    label_map: NDArray[np.uint8],
    picture: PlanePicture,
    colours: Colours | None = None,
    confidence: NDArray[np.floating[Any]] | None = None,
) -> None:
    """Draw a label map `[rows, columns]` of any resolution, with the three images at their places.

    Args:
        axes: Where to draw.
        label_map: Predicted classes; masked points stay white.
        picture: The plane.
        colours: One for each class; by default `class_colours`.
        confidence: Probability of the predicted class, `[rows, columns]`; lower values are paler.
    """
    colours = class_colours(len(picture.class_names)) if colours is None else colours
    if confidence is None:
        _draw(axes, label_map, picture, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5)
    else:
        _draw(axes, _paler(np.asarray(colours)[label_map], confidence, 1 / len(colours)), picture)


def _paler(pixels: NDArray[np.float64], confidence: NDArray[np.floating[Any]], chance: float) -> NDArray[np.float64]:
    """Pixels `[rows, columns, 3]` that fade to white as the confidence falls to chance."""
    doubt = (1 - confidence.astype(float)) / (1 - chance)
    return np.asarray(pixels + (1 - pixels) * (FADED * np.clip(doubt, 0, 1))[..., None])


def draw_share(axes: Axes, shares: NDArray[np.float64], picture: PlanePicture) -> None:
    """Draw shares `[rows, columns]` from 0 (white) to 1 (black), with the three images at their places."""
    _draw(axes, shares, picture, cmap="Greys", vmin=0, vmax=1)


def _draw(axes: Axes, values: NDArray[Any], picture: PlanePicture, **scale: Any) -> None:
    """Show a map so that its outermost points lie on the border of the plane, at every resolution."""
    left, right, bottom, top = picture.extent
    rows, columns = values.shape[:2]
    half_a, half_b = (right - left) / max(1, columns - 1) / 2, (top - bottom) / max(1, rows - 1) / 2
    axes.imshow(
        values,
        extent=(left - half_a, right + half_a, bottom - half_b, top + half_b),
        origin="lower",
        interpolation="none",
        **scale,
    )
    side = min(THUMBNAIL * (right - left), FLAT * (top - bottom))
    for image, a, b in zip(picture.images, picture.a, picture.b, strict=True):
        _draw_image(axes, image, a, b, side / max(image.shape[:2]))
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")


def _draw_image(axes: Axes, image: NDArray[np.float64], a: float, b: float, pixel: float) -> None:
    height, width = (pixel * side for side in image.shape[:2])
    corner = (a - width / 2, b - height / 2)
    extent = (corner[0], corner[0] + width, corner[1], corner[1] + height)
    axes.imshow(image, extent=extent, interpolation="none", zorder=3, clip_on=False)
    frame: dict[str, Any] = {"fill": False, "zorder": 4, "clip_on": False}
    axes.add_patch(Rectangle(corner, width, height, edgecolor="white", linewidth=1.8, **frame))
    axes.add_patch(Rectangle(corner, width, height, edgecolor="black", linewidth=0.8, **frame))


def class_legend(
    figure: Figure,
    class_names: Sequence[str],
    caption: str,
    shown: Sequence[int] | None = None,
    colours: Colours | None = None,
) -> None:
    """Draw the caption and, below it, a patch for each of the `shown` classes (by default all), at the lower end.

    One legend holds both, because two texts of a figure would overlap.
    """
    width = figure.get_figwidth()
    colours = class_colours(len(class_names)) if colours is None else colours
    shown = range(len(class_names)) if shown is None else shown
    look: dict[str, Any] = {"edgecolor": "0.3", "linewidth": 0.5}
    coloured = [label for label in shown if tuple(colours[label]) != OTHERS]
    names = [name if len(name) <= MAX_LETTERS else f"{name[: MAX_LETTERS - 1]}…" for name in class_names]
    patches = [Patch(facecolor=colours[label], label=names[label], **look) for label in coloured]
    patches += [Patch(facecolor=OTHERS, label="others", **look)] * (len(coloured) < len(shown))
    longest = max((len(str(patch.get_label())) for patch in patches), default=1)
    legend = figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=min(len(patches), max(1, int(width / (0.32 + 0.075 * longest)))),
        fontsize=CAPTION_SIZE,
        handlelength=1,
        handleheight=1,
        columnspacing=1,
        title=lines(caption, width, CAPTION_SIZE),
        title_fontsize=CAPTION_SIZE,
    )
    legend.get_title().set(multialignment="center", color=CAPTION_COLOUR)
