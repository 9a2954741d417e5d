"""Numbers as people read them: bytes, counts, times, values with intervals, p-values, aligned tables.

Numbers stay numbers until a renderer calls one of these functions; nothing parses what they return.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from jinja2 import Environment

NO_WIDTH = 1e-9
"""Widths up to this come from rounding."""
COLUMNS = 110
NO_BREAK = "\u00a0"
LARGE = 1e6
"""From here on, values have an exponent: an interval of two trainings can end at 1e100."""


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
    sign = "+" if signed else ""
    if LARGE <= abs(value) < math.inf:
        return f"{value:{sign}.1e}"
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


class Cell(NamedTuple):
    """A cell of a table: a value, and what stands smaller beside or below it, such as its interval."""

    text: str
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.text, *self.notes))


def interval_cell(value: float, low: float, high: float, digits: int, *, unit: str = "", signed: bool = False) -> Cell:
    """A value with its interval as the note, such as "0.873" and "[0.861, 0.885]"; "-" for a value that is not known.

    An interval without a width is left out: items that are all alike say nothing about others.
    """
    if math.isnan(value):
        return Cell("-")
    text = f"{decimals(value, digits, signed)}{unit}"
    if not high - low > NO_WIDTH:
        return Cell(text)
    return Cell(text, (f"[{decimals(low, digits, signed)}, {decimals(high, digits, signed)}]",))


def interval_text(value: float, low: float, high: float, digits: int = 3, *, unit: str = "") -> str:
    """The same on one line, such as "0.873 [0.861, 0.885]"."""
    return str(interval_cell(value, low, high, digits, unit=unit))


def score_cell(row: Mapping[str, Any], score: str, digits: int = 3, *, scale: float = 1) -> Cell:
    """`interval_cell` of a table's row: its columns `score`, `score`_low and `score`_high, each times `scale`."""
    return interval_cell(scale * row[score], scale * row[f"{score}_low"], scale * row[f"{score}_high"], digits)


def percent_text(value: float, low: float, high: float, digits: int = 1) -> str:
    """A share and its interval in percent, such as "51.2% [47.9, 54.4]"."""
    return interval_text(100 * value, 100 * low, 100 * high, digits, unit="%")


def unbroken(text: str) -> str:
    """The text with non-breaking spaces in and before its intervals, so that no line ends there."""
    return re.sub(r"(?:(?<=[\d%]) )?\[[^\]]*\]", lambda interval: interval[0].replace(" ", NO_BREAK), text)


def paragraph(text: str) -> str:
    """The text as lines for a terminal, none of which ends within a word or an interval."""
    lines = textwrap.fill(unbroken(text), COLUMNS, break_long_words=False, break_on_hyphens=False)
    return lines.replace(NO_BREAK, " ")


def p_text(value: float | None) -> str:
    """A p-value, such as "0.034" or "< 0.001"; "-" if it is not known."""
    if value is None or math.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def p_phrase(value: float) -> str:
    """The same with its name, such as "p = 0.034" or "p < 0.001"."""
    return f"p {p_text(value)}" if value < 0.001 else f"p = {p_text(value)}"


def listed(names: Sequence[str], most: int, separator: str = ", ") -> str:
    """The first `most` names, and how many more there are."""
    more = len(names) - most
    return separator.join([*names[:most], *([f"and {more:,} more"] if more > 0 else [])])


def aligned(rows: Sequence[Sequence[object]], narrowest: int) -> list[str]:
    """The rows as lines, every column as wide as it must be; the first starts at the left.

    It is shortened where a line would not fit, and never narrower than `narrowest`.
    """
    texts = [[str(cell) for cell in row] for row in rows]
    wide = [max(map(len, column)) for column in zip(*texts, strict=True)]
    wide[0] = max(min(wide[0], COLUMNS - sum(wide[1:]) - 2 * len(wide[1:])), narrowest)
    lines = []
    for first, *others in texts:
        padded = [cell.rjust(width) for cell, width in zip(others, wide[1:], strict=True)]
        lines.append("  ".join([shortened(first, wide[0]).ljust(wide[0]), *padded]).rstrip())
    return lines


def shortened(text: str, width: int) -> str:
    """The text, or its beginning and three dots if it is wider."""
    return text if len(text) <= width else f"{text[: width - 3]}..."


def with_names_above(rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines as of `aligned`; where the first column would have to be shortened, each of its cells above its row."""
    texts = [[str(cell) for cell in row] for row in rows]
    needed = [max(map(len, column)) for column in zip(*texts, strict=True)]
    if sum(needed) + 2 * (len(needed) - 1) <= COLUMNS:
        return aligned(texts, narrowest=2)
    head, *lines = aligned([["", *others] for _, *others in texts], narrowest=2)
    named = zip(texts[1:], lines, strict=True)
    below_names = [line for row, below in named for line in (shortened(row[0], COLUMNS), below) if line.strip()]
    return [texts[0][0], head, *below_names]


def names_of_paths(paths: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """The shortest ends of paths that differ, without these suffixes; numbered if the paths are equal.

    Words (separated by "-") with which all of them begin are left out.
    """
    ended = {path: max((end for end in suffixes if path.endswith(end)), key=len, default="") for path in paths}
    parts = [PurePosixPath(path.removesuffix(ended[path])).parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(of[-length:]) for of in parts]
        if len(set(names)) == len(names):
            words = [name.split("-") for name in names]
            common = 0
            while all(len(of) > common + 1 for of in words) and len({of[common] for of in words}) == 1:
                common += 1
            return ["-".join(of[common:]) for of in words]
    shortest = [of[-1] for of in parts]
    return [f"{name} ({shortest[: index + 1].count(name)})" for index, name in enumerate(shortest)]


def templates(folder: Path, **settings: Any) -> Environment:
    """The templates of a folder. HTML escapes its values; jinja2.UndefinedError if one is missing."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # most commands need none

    made = Environment(
        loader=FileSystemLoader(folder), autoescape=select_autoescape(), undefined=StrictUndefined, **settings
    )
    made.filters |= {"p_text": p_text, "unbroken": unbroken}
    made.tests["known"] = lambda value: not math.isnan(value)
    return made
