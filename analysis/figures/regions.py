"""Draws planes, alone or in a grid: label maps or shares, with the three images at their places."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from dbviz_ray.formatting import shortened
from dbviz_ray.store import Labels, Picture, Store

from .style import CAPTION_COLOUR, CAPTION_SIZE, CLASS_COLOURS, STYLE, class_colours, lines

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
    return picture_of(store.read_parquet(store.planes_file(plane_set)), plane)


def picture_of(stored: tuple[pa.Table, dict[str, Any]], plane: int) -> PlanePicture:
    """One plane of a plane set's table and its facts."""
    table, facts = stored
    row = table.slice(plane, 1).to_pylist()[0]
    channels, height, width = facts["image_shape"]
    mean, deviation = (np.array(facts[name]).reshape(-1, 1, 1) for name in ("mean", "deviation"))
    pixels = np.array(row["anchors"]).reshape(3, channels, height, width) * deviation + mean
    a, b, extent = np.array(row["anchor_a"]), np.array(row["anchor_b"]), (*row["a_range"], *row["b_range"])
    return PlanePicture(displayable(pixels), a, b, extent, facts["class_names"])


def displayable(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Clip images `[n, channels, height, width]` to 0 to 1 and return them as `[n, height, width, 3]`."""
    images = np.moveaxis(np.clip(pixels, 0, 1), 1, -1)
    return images[..., :3] if images.shape[-1] >= 3 else np.repeat(images[..., :1], 3, axis=-1)


def colours_for(label_maps: Iterable[Labels], classes: int) -> Colours:
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
    label_map: NDArray[Any],
    picture: PlanePicture,
    colours: Colours,
    confidence: NDArray[np.floating[Any]] | None = None,
) -> None:
    """Draw a label map `[rows, columns]` of any resolution, with the three images at their places.

    Masked points stay white. Lower values of `confidence`, the probability of the predicted class `[rows, columns]`,
    are paler.
    """
    if confidence is None:
        _draw(axes, label_map, picture, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5)
        return
    pixels, doubt = np.asarray(colours)[label_map], (1 - confidence.astype(float)) / (1 - 1 / len(colours))
    _draw(axes, pixels + (1 - pixels) * (FADED * np.clip(doubt, 0, 1))[..., None], picture)


def draw_share(axes: Axes, shares: NDArray[np.float64], picture: PlanePicture) -> None:
    """Draw shares `[rows, columns]` from 0 (white) to 1 (black), with the three images at their places."""
    _draw(axes, shares, picture, cmap="Greys", vmin=0, vmax=1)


def _draw(axes: Axes, values: NDArray[Any], picture: PlanePicture, **scale: Any) -> None:
    """Show a map so that its outermost points lie on the border of the plane, at every resolution."""
    left, right, bottom, top = picture.extent
    rows, columns = values.shape[:2]
    half_a, half_b = (right - left) / max(1, columns - 1) / 2, (top - bottom) / max(1, rows - 1) / 2
    extent = (left - half_a, right + half_a, bottom - half_b, top + half_b)
    axes.imshow(values, extent=extent, origin="lower", interpolation="none", **scale)
    side = min(THUMBNAIL * (right - left), FLAT * (top - bottom))
    for image, a, b in zip(picture.images, picture.a, picture.b, strict=True):
        height, width = (side / max(image.shape[:2]) * length for length in image.shape[:2])
        corner = (a - width / 2, b - height / 2)
        extent = (corner[0], corner[0] + width, corner[1], corner[1] + height)
        axes.imshow(image, extent=extent, interpolation="none", zorder=3, clip_on=False)
        for edge, thick in (("white", 1.8), ("black", 0.8)):
            frame = Rectangle(corner, width, height, fill=False, edgecolor=edge, linewidth=thick)
            axes.add_patch(frame).set(zorder=4, clip_on=False)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], aspect="equal")


def class_legend(
    figure: Figure, class_names: Sequence[str], caption: str, maps: Sequence[Labels], *, every: bool = False
) -> None:
    """Draw the caption and, below it, a patch for `every` class or for those in the label maps, at the lower end.

    One legend holds both, because two texts of a figure would overlap.
    """
    width, colours = figure.get_figwidth(), colours_for(maps, len(class_names))
    shown = range(len(class_names)) if every else sorted({int(label) for one in maps for label in np.unique(one)})
    look: dict[str, Any] = {"edgecolor": "0.3", "linewidth": 0.5}
    coloured = [label for label in shown if tuple(colours[label]) != OTHERS]
    patches = [
        Patch(facecolor=colours[label], label=shortened(class_names[label], MAX_LETTERS), **look) for label in coloured
    ]
    patches += [Patch(facecolor=OTHERS, label="others", **look)] * (len(coloured) < len(shown))
    longest = max((len(str(patch.get_label())) for patch in patches), default=1)
    rows = -(-len(patches) // max(1, int(width / (0.32 + 0.075 * longest))))
    columns = -(-len(patches) // max(1, rows))
    sizes: dict[str, Any] = {"fontsize": CAPTION_SIZE, "title_fontsize": CAPTION_SIZE}
    sizes |= dict.fromkeys(("handlelength", "handleheight", "columnspacing"), 1)
    title = lines(caption, width, CAPTION_SIZE)
    legend = figure.legend(handles=patches, loc="outside lower center", ncols=columns, title=title, **sizes)
    legend.get_title().set(multialignment="center", color=CAPTION_COLOUR)


WIDEST, LARGEST_PANEL = 12.5, 2.1
"""Width of all panels together, and of one, in inches."""
LOWEST, TALLEST = 0.25, 1.4
"""Smallest and largest ratio of height to width of a panel; planes beyond it are drawn smaller."""
NAMES, GAP, HEADING = 0.4, 0.1, 0.3
"""Space for the names of rows, between panels, and for headings, in inches."""
COLUMN_SIZE, VALUE_SIZE, LINE = 9.5, 8.0, 0.16
"""Font sizes in points, and the height of a line in inches."""
FEW_CLASSES = 10


@dataclass(frozen=True)
class Panel:
    """One plane: the label map of a training, or the share of pairs of trainings that disagree at each point."""

    seen: Picture | NDArray[np.float64]
    above: str = ""
    """The text above it."""


@dataclass(frozen=True)
class Row:
    """Panels side by side that show one plane; None for an empty place."""

    name: str
    plane: PlanePicture
    panels: Sequence[Panel | None]


def draw_grid(rows: Sequence[Row | str], columns: Sequence[str], title: str, caption: str) -> Figure:
    """Draw rows, and headings over some of them, under the names of their columns; below, a legend of the classes."""
    side = min(LARGEST_PANEL, WIDEST / len(columns))
    width = max(5.4, len(columns) * (side + GAP) + NAMES)
    columns = [lines(name, side + GAP / 2, COLUMN_SIZE) for name in columns]
    heights = [HEADING if isinstance(row, str) else side * min(max(row.plane.aspect, LOWEST), TALLEST) for row in rows]
    shown = [row for row in rows if isinstance(row, Row)]
    deepest = max(len(text.splitlines()) for row in shown for text in _texts_above(row, side))
    pictures = [panel.seen for row in shown for panel in row.panels if panel and isinstance(panel.seen, Picture)]
    caption += "; paler: the class is less probable" * any(picture.confidence is not None for picture in pictures)
    title, caption = lines(title, width, STYLE["figure.titlesize"]), lines(caption, width, CAPTION_SIZE)
    above = max(len(name.splitlines()) for name in columns) + deepest * max(1, len(rows) - len(shown))
    text_lines = above + len(caption.splitlines()) + 2 * len(title.splitlines()) + 4
    figure = Figure(
        figsize=(width, sum(heights) + len(heights) * GAP + text_lines * LINE),
        layout=ConstrainedLayoutEngine(w_pad=GAP / 2, h_pad=GAP / 2, wspace=0, hspace=0),
    )
    places = figure.add_gridspec(len(rows), len(columns), height_ratios=heights)
    class_names, maps = shown[0].plane.class_names, [picture.labels for picture in pictures]
    colours = colours_for(maps, len(class_names))
    letters = iter(ascii_lowercase)
    for place, row in enumerate(rows):
        if isinstance(row, str):
            axes, head = figure.add_subplot(places[place, :], ylim=(0, 1)), f"({next(letters)}) {row}"
            axes.text(0, 0.25, head, transform=axes.transAxes, fontsize=10.5, fontweight="bold", va="bottom")
            axes.axhline(0, color="0.6", linewidth=0.8)
            axes.set_axis_off()
            continue
        panels = [figure.add_subplot(places[place, column]) for column in range(len(columns))]
        for axes, panel, text in zip(panels, row.panels, _texts_above(row, side), strict=True):
            if panel is None:
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set_visible(False)
            elif isinstance(panel.seen, Picture):
                draw_regions(axes, panel.seen.labels, row.plane, colours, panel.seen.confidence)
            else:
                draw_share(axes, panel.seen, row.plane)
            if text:
                axes.xaxis.set_label_position("top")
                axes.set_xlabel(text, fontsize=VALUE_SIZE, color="0.25", labelpad=9)
        panels[0].set_ylabel(row.name, fontsize=COLUMN_SIZE)
        if row is shown[0]:
            for axes, name in zip(panels, columns, strict=True):
                axes.set_title(name, fontsize=COLUMN_SIZE)
    class_legend(figure, class_names, caption, maps, every=len(class_names) <= FEW_CLASSES)
    figure.suptitle(title)
    return figure


def _texts_above(row: Row, side: float) -> list[str]:
    """Texts with equally many lines, so that the headings above them are level; empty if there are none."""
    texts = [lines(panel.above, side, VALUE_SIZE) if panel else "" for panel in row.panels]
    deep = max(len(text.splitlines()) for text in texts)
    return [text + "\n " * (deep - max(1, len(text.splitlines()))) or " " * bool(deep) for text in texts]
