"""A grid of planes: decision regions, and where trainings disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from dbviz_ray.store import Picture

from .regions import Colours, PlanePicture, class_legend, colours_for, draw_regions, draw_share
from .style import CAPTION_SIZE, STYLE, lines

WIDEST, LARGEST_PANEL = 12.5, 2.1
"""Width of all panels together, and of one, in inches."""
LOWEST, TALLEST = 0.25, 1.4
"""Smallest and largest ratio of height to width of a panel; planes beyond it are drawn smaller."""
NAMES, GAP, HEADING = 0.4, 0.1, 0.3
"""Space for the names of rows, between panels, and for headings, in inches."""
COLUMN_SIZE, VALUE_SIZE, LINE = 9.5, 8.0, 0.16
"""Font sizes in points, and the height of a line in inches."""
FEW_CLASSES = 10
PALER = "; paler: the class is less probable"
"""Ends a caption if regions are shaded."""


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


@dataclass(frozen=True)
class Block:
    """Rows under a heading, which may be empty."""

    heading: str
    rows: Sequence[Row]


def draw_grid(blocks: Sequence[Block], columns: Sequence[str], title: str, caption: str) -> Figure:
    """Draw blocks of rows under the names of their columns; below them the caption and a legend of the classes."""
    side = min(LARGEST_PANEL, WIDEST / len(columns))
    width = max(5.4, len(columns) * (side + GAP) + NAMES)
    title, caption = lines(title, width, STYLE["figure.titlesize"]), lines(caption, width, CAPTION_SIZE)
    heights: list[float] = []
    text_lines = 0
    for block in blocks:
        heights += [HEADING] * bool(block.heading)
        heights += [side * min(max(row.plane.aspect, LOWEST), TALLEST) for row in block.rows]
        text_lines += max(_lines_above(row, side) for row in block.rows)
    columns = [lines(name, side + GAP / 2, COLUMN_SIZE) for name in columns]
    text_lines += max(name.count("\n") for name in columns) + caption.count("\n") + 2 * title.count("\n") + 8
    figure = Figure(
        figsize=(width, sum(heights) + len(heights) * GAP + text_lines * LINE),
        layout=ConstrainedLayoutEngine(w_pad=GAP / 2, h_pad=GAP / 2, wspace=0, hspace=0),
    )
    places = figure.add_gridspec(len(heights), len(columns), height_ratios=heights)
    maps = [p.seen.labels for b in blocks for r in b.rows for p in r.panels if p and isinstance(p.seen, Picture)]
    class_names = blocks[0].rows[0].plane.class_names
    colours = colours_for(maps, len(class_names))
    place = 0
    for block in blocks:
        if block.heading:
            _head(figure.add_subplot(places[place, :]), block.heading)
            place += 1
        for row in block.rows:
            panels = [figure.add_subplot(places[place, column]) for column in range(len(columns))]
            for axes, panel in zip(panels, row.panels, strict=True):
                _draw(axes, panel, row.plane, colours)
            _write_above(panels, row, side)
            panels[0].set_ylabel(row.name, fontsize=COLUMN_SIZE)
            if row is blocks[0].rows[0]:
                for axes, name in zip(panels, columns, strict=True):
                    axes.set_title(name, fontsize=COLUMN_SIZE)
            place += 1
    shown = _shown_classes(maps, len(class_names))
    class_legend(figure, class_names, caption, shown, colours)
    figure.suptitle(title)
    return figure


def _lines_above(row: Row, side: float) -> int:
    return max(
        lines(panel.above, side, VALUE_SIZE).count("\n") + 1 if panel and panel.above else 0 for panel in row.panels
    )


def _head(axes: Axes, heading: str) -> None:
    axes.set_axis_off()
    axes.text(0, 0.25, heading, transform=axes.transAxes, fontsize=10.5, fontweight="bold", va="bottom")
    axes.axhline(0, color="0.6", linewidth=0.8)
    axes.set_ylim(0, 1)


def _draw(axes: Axes, panel: Panel | None, plane: PlanePicture, colours: Colours) -> None:
    if panel is None:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        return
    if isinstance(panel.seen, Picture):
        draw_regions(axes, panel.seen.labels, plane, colours, panel.seen.confidence)
    else:
        draw_share(axes, panel.seen, plane)


def _write_above(panels: Sequence[Axes], row: Row, side: float) -> None:
    """Texts with equally many lines, so that the headings above them are level."""
    texts = [lines(panel.above, side, VALUE_SIZE) if panel else "" for panel in row.panels]
    deep = max(text.count("\n") for text in texts)
    for axes, text in zip(panels, texts, strict=True):
        if any(texts):
            axes.xaxis.set_label_position("top")
            axes.set_xlabel(
                text + "\n " * (deep - text.count("\n")) or " ", fontsize=VALUE_SIZE, color="0.25", labelpad=5
            )


def _shown_classes(maps: Sequence[NDArray[np.uint8]], classes: int) -> Sequence[int]:
    """All classes if they are few, else those that occur in the maps."""
    if classes <= FEW_CLASSES or not maps:
        return range(classes)
    return sorted(set().union(*(np.unique(labels).tolist() for labels in maps)))


def transposed(blocks: Sequence[Block]) -> tuple[list[str], list[Block]]:
    """The columns and blocks of a picture with one column, turned into one row."""
    rows = [Row(block.heading, block.rows[0].plane, [row.panels[0] for row in block.rows]) for block in blocks]
    return [row.name for row in blocks[0].rows], [Block("", rows)]
