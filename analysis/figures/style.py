"""Colours and sizes that all figures share."""

from __future__ import annotations

from matplotlib.axes import Axes

CLASS_COLOURS = (
    "#88CCEE", "#CC6677", "#DDCC77", "#117733", "#332288", "#AA4499", "#44AA99", "#999933", "#882255", "#DDDDDD",
)  # fmt: skip
"""Paul Tol's "muted" scheme: ten colours that colour-blind people can tell apart (personal.sron.nl/~pault)."""

SERIES_COLOURS = ("#0077BB", "#EE7733", "#009988", "#CC3311", "#33BBEE", "#EE3377")
"""Paul Tol's "vibrant" scheme."""


def class_colours(classes: int) -> list[tuple[float, float, float]]:
    """One colour a class, the same in every picture; beyond ten they repeat in lighter shades."""
    colours = []
    for label in range(classes):
        shade = (label // len(CLASS_COLOURS)) / (1 + classes // len(CLASS_COLOURS))
        colours.append(_lighter(CLASS_COLOURS[label % len(CLASS_COLOURS)], shade))
    return colours


def plain(axes: Axes) -> None:
    """Only the axes that carry a scale."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def _lighter(colour: str, share: float) -> tuple[float, float, float]:
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (channel + (1 - channel) * share for channel in channels)
    return red, green, blue
