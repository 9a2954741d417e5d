"""The style of all figures: fonts, colours, axes, legends, titles and captions."""

import math
import re
from collections.abc import Mapping, Sequence
from string import ascii_lowercase
from textwrap import TextWrapper
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from .captions import left_out_note

CLASS_COLOURS = (
    "#1792EC", "#747A0C", "#623812", "#06675A", "#493384", "#E1D970", "#58EECC", "#C1927B", "#CA5591", "#D0C9FF",
)  # fmt: skip
"""Ten colours that can all stand side by side, found by simulated annealing for the largest smallest difference.

Smallest CIEDE2000 difference between two of them, with normal vision, protanopia, deuteranopia and tritanopia (Machado
et al. 2009, severity 1): 28.4, 17.5, 17.4 and 14.4. Paul Tol's "muted" scheme has 15.0, 11.8, 14.3 and 11.5,
matplotlib's ten 16.2, 1.3, 3.3 and 9.5. None is grey, near black or near white: pictures use these for other things.
"""

SERIES_COLOURS = ("#0077BB", "#EE7733", "#009988", "#CC3311", "#33BBEE", "#EE3377")
"""Paul Tol's "vibrant" scheme."""

MARKERS = "osD^v*Xph<>d"

SHIFT = 2.2
"""Between the intervals of two lines, in points."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so pictures are alike on all machines
    "font.size": 9.5,
    "figure.titlesize": 12.5,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.linewidth": 0.7,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.title_fontsize": 8.5,
    "savefig.facecolor": "white",
    "text.parse_math": False,  # names may contain dollar signs
    "pdf.fonttype": 42,  # keeps text in a PDF searchable and editable
}
"""Settings of matplotlib for drawing and storing: `with rc_context(STYLE)`."""

CAPTION_SIZE, CAPTION_COLOUR = 8, "0.35"


def class_colours(classes: int) -> list[tuple[float, float, float]]:
    """One colour for each class, the same in every picture; after ten they repeat in lighter shades."""
    turn, place = np.divmod(np.arange(classes), len(CLASS_COLOURS))
    darkest = np.array([to_rgb(colour) for colour in CLASS_COLOURS])[place]
    shades = darkest + (1 - darkest) * turn[:, None] / (1 + classes // len(CLASS_COLOURS))
    return [(red, green, blue) for red, green, blue in shades.tolist()]


def panels(rows: int, columns: int, width: float, height: float, **shared: Any) -> tuple[Figure, NDArray[Any]]:
    """A figure of `width` by `height` inches, and its axes `[rows, columns]`; `shared` is `sharex`, `sharey`, ..."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def plain(axes: Axes) -> None:
    """Hide the axes without a scale."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def score_line(
    axes: Axes,
    rows: pd.DataFrame,
    x: str,
    score: str,
    colour: str,
    label: str,
    *,
    line: str = "-",
    marker: str = "o",
    face: str | None = None,
    at: tuple[int, int] = (0, 1),
) -> None:
    """Draw a score over the column `x`, with bars for its intervals; nothing if the score is unknown.

    `face` is the colour inside markers. `at` is the place of the line, and of how many: intervals stand side by side.
    """
    if rows[score].isna().all():
        return
    shift = SHIFT * (at[0] - (at[1] - 1) / 2)
    shifted = axes.transData + ScaledTranslation(shift / 72, 0, axes.figure.dpi_scale_trans)
    look: dict[str, Any] = {"marker": marker, "markersize": 3.5, "markerfacecolor": face or colour}
    drawn: list[Artist] = [*axes.plot(rows[x], rows[score], line, color=colour, label=label, **look)]
    drawn += [axes.vlines(rows[x], rows[f"{score}_low"], rows[f"{score}_high"], color=colour, linewidth=1.1, alpha=0.6)]
    for artist in drawn:  # afterwards, for the axis fits the data only where their transformation is its own
        artist.set_transform(shifted)


def interval_point(
    axes: Axes, row: Mapping[str, Any], x: str | float, y: str | float, colour: str, marker: str, size: float = 6
) -> None:
    """Draw a point at `x` and `y`, each a score of `row` with its interval or a place; nothing if one is unknown."""
    (x, across), (y, upright) = _with_reach(row, x), _with_reach(row, y)
    if pd.isna(x) or pd.isna(y):
        return
    look: dict[str, Any] = {"markersize": size, "markeredgecolor": "white", "markeredgewidth": 0.6, "elinewidth": 1.3}
    axes.errorbar(x, y, xerr=across, yerr=upright, color=colour, marker=marker, linestyle="none", **look)


def _with_reach(row: Mapping[str, Any], score: str | float) -> tuple[float, list[list[float]] | None]:
    """A value, and how far its interval reaches below and above it."""
    if not isinstance(score, str):
        return score, None
    value = row[score]
    # Interval ends are cut at the bounds of the score, but a value can lie beyond them, such as a share of -0.002.
    return value, [[max(0.0, value - row[f"{score}_low"])], [max(0.0, row[f"{score}_high"] - value)]]


def limits(drawn: Sequence[tuple[pd.DataFrame, str]]) -> tuple[float, float]:
    """The ends of an axis for scores (columns of tables): it contains every value, but not every interval.

    With few trainings an interval can be a million times longer than the others. It is cut beyond the values at half
    their span, or at the length of the median interval.
    """
    values, lows, highs = (
        pd.concat([table[f"{score}{end}"] for table, score in drawn], ignore_index=True)
        for end in ("", "_low", "_high")
    )
    lows, highs = lows.fillna(values), highs.fillna(values)
    room = max((values.max() - values.min()) / 2, (highs - lows).median())
    bottom = max(min(lows.min(), values.min()), values.min() - room)
    top = min(max(highs.max(), values.max()), values.max() + room)
    margin = 0.05 * (top - bottom) or 0.05 * abs(top) or 1.0
    return float(bottom - margin), float(top + margin)


def spaced(ticks: list[int], room: float = 1.0) -> list[int]:
    """The ticks whose labels do not overlap on a log axis of `room` times 6 inches; always the last one."""
    kept = ticks[:1]
    for tick in ticks[1:]:
        digits = len(f"{kept[-1]}{tick}")
        if math.log(tick / kept[-1]) / math.log(ticks[-1] / ticks[0]) > (0.01 + 0.009 * digits) / room:
            kept.append(tick)
        elif tick == ticks[-1]:
            kept[-1] = tick
    return kept


def log_ticks(axes: Axes, ticks: Sequence[float], labels: Sequence[str] | None = None) -> None:
    """Make the x axis logarithmic to base 2, with only these ticks, labelled by their values."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, labels=[str(tick) for tick in ticks] if labels is None else labels)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def key_line(label: str, colour: str, marker: str = "", line: Any = "-", size: float = 3.5, face: Any = None) -> Line2D:
    """An entry of a legend."""
    look: dict[str, Any] = {"marker": marker, "markersize": size, "markerfacecolor": face or colour}
    return Line2D([], [], color=colour, linestyle=line, label=label, **look)


def entitle(figure: Figure, title: str) -> Figure:
    """Draw the title above a figure, wrapped to its width; returns the figure."""
    figure.suptitle(lines(title, figure.get_figwidth(), STYLE["figure.titlesize"]))
    return figure


def inscribe(figure: Figure, title: str, caption: str) -> Figure:
    """Draw title and caption, wrapped to the figure's width, and a letter at each of several panels without images."""
    entitle(figure, title)
    seen = [axes for axes in figure.axes if axes.axison and not axes.images and axes.get_label() != "<colorbar>"]
    for axes, letter in zip(seen, ascii_lowercase * (len(seen) > 1), strict=False):
        axes.set_title(f"({letter})", loc="left", fontweight="bold")
    figure.supxlabel(lines(caption, figure.get_figwidth(), CAPTION_SIZE), fontsize=CAPTION_SIZE, color=CAPTION_COLOUR)
    return figure


def nothing_left(groups: pd.DataFrame, what: str) -> Figure:
    """A figure that says why there is nothing to show: no `what` is left; from all rows of `groups`."""
    figure, ((axes,),) = panels(1, 1, 7.2, 2.4)
    axes.set_axis_off()
    axes.text(0.5, 0.5, f"nothing to show: no {what} left{left_out_note(groups)}", ha="center", va="center")
    return figure


LETTER = 0.56
"""Width of an average letter of DejaVu Sans, in font sizes."""


class _Wrapper(TextWrapper):
    """Breaks lines after spaces and underscores."""

    wordsep_simple_re = re.compile(r"( +|(?<=_))")


def lines(text: str, width: float, size: float) -> str:
    """Wrap a text of `size` points into balanced lines of at most `width` inches; keeps its own line breaks."""
    letters = max(8, int(width * 72 / (LETTER * size)))
    return "\n".join(_balanced(line.replace(" %", "\u00a0%"), letters) for line in text.split("\n"))


def _balanced(line: str, letters: int) -> str:
    """Wrap a line into the fewest lines of at most `letters` letters, of about equal length."""
    longest = max(1, *map(len, _Wrapper.wordsep_simple_re.split(line)))
    lengths = range(letters, min(longest, letters) - 1, -1)
    wrapped = [_Wrapper(length, break_on_hyphens=False).wrap(line) for length in lengths]
    return "\n".join([balanced for balanced in wrapped if len(balanced) == len(wrapped[0])][-1])
