"""Numbers as people read them: bytes, counts, times, values with intervals, p-values, aligned tables.

Numbers stay numbers until a renderer calls one of these functions; nothing parses what they return.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

NO_WIDTH = 1e-9
"""Widths up to this come from rounding."""
COLUMNS = 110
LEAST_NAME = 16


def bytes_text(count: float) -> str:
    """Such as "3.77 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def count_text(count: float) -> str:
    """To three figures, such as "0.354", "1,520" or "13.2 million"."""
    for size, name in ((1e9, " billion"), (1e6, " million")):
        if count >= size:
            return f"{count / size:,.3g}{name}"
    return f"{float(f'{count:.3g}'):,.0f}" if count >= 100 else f"{count:.3g}"


def duration_text(seconds: float) -> str:
    """Such as "90 s", "45 min" or "12.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def estimate_text(seconds: float) -> str:
    """No more exact than an estimate is: "about 30 s", "about 4 min", "about 2.5 h"."""
    steps = ((57, 5), (115, 10), (570, 60), (5700, 300), (34200, 1800))
    step = next((step for below, step in steps if seconds < below), 3600)
    rounded = max(step, round(seconds / step) * step)
    if rounded < 120:
        return f"about {rounded} s"
    return f"about {rounded // 60} min" if rounded < 6000 else f"about {rounded / 3600:g} h"


def decimals(value: float, digits: int, signed: bool = False) -> str:
    """`value` with `digits` decimals; zero never has a minus sign."""
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def interval_text(
    value: float, low: float, high: float, digits: int = 3, *, unit: str = "", signed: bool = False
) -> str:
    """A value and its interval, such as "0.873 [0.861, 0.885]"; "-" for a value that is not known.

    An interval without a width gets no bracket: items that are all alike say nothing about others.
    """
    if math.isnan(value):
        return "-"
    text = f"{decimals(value, digits, signed)}{unit}"
    if not high - low > NO_WIDTH:
        return text
    return f"{text} [{decimals(low, digits, signed)}, {decimals(high, digits, signed)}]"


def percent_text(value: float, low: float, high: float, digits: int = 1, *, signed: bool = False) -> str:
    """A share and its interval in percent, such as "51.2% [47.9, 54.4]"."""
    return interval_text(100 * value, 100 * low, 100 * high, digits, unit="%", signed=signed)


def p_text(value: float) -> str:
    """A p-value, such as "0.034" or "< 0.001"; "-" if it is not known."""
    if math.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def listed(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first `most` names, and how many more there are."""
    more = len(names) - most
    return separator.join([*names[:most], *([f"and {more:,} more"] if more > 0 else [])])


def aligned(rows: Sequence[Sequence[str]], widths: Sequence[int] = (), narrowest: int = LEAST_NAME) -> list[str]:
    """The rows as lines, every column as wide as it must be, at least `widths`; the first starts at the left.

    It is shortened where a line would not fit, and never narrower than `narrowest`.
    """
    needed = [max(map(len, column)) for column in zip(*rows, strict=True)]
    wide = [max(width, least) for width, least in zip(needed, widths or needed, strict=True)]
    wide[0] = max(min(wide[0], COLUMNS - sum(wide[1:]) - 2 * len(wide[1:])), narrowest)
    lines = []
    for first, *others in rows:
        cells = [shortened(first, wide[0]), *others]
        padded = [
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, wide, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and three dots if it is wider."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def with_names_above(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines as of `aligned`; where the first column would have to be shortened, each of its cells above its row."""
    needed = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if sum(needed) + 2 * (len(needed) - 1) <= COLUMNS:
        return aligned(rows, narrowest=2)
    head, *lines = aligned([["", *others] for _, *others in rows], narrowest=2)
    named = zip(rows[1:], lines, strict=True)
    below_names = [line for row, below in named for line in (shortened(row[0], COLUMNS), below) if line.strip()]
    return [rows[0][0], head, *below_names]
