"""Rows of words and numbers as lines for a terminal of 110 columns."""

from __future__ import annotations

from collections.abc import Sequence

COLUMNS = 110
LEAST_NAME = 16


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
