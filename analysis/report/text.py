"""A comparison as text for a terminal."""

from __future__ import annotations

import textwrap

from analysis.comparing import Scores
from analysis.report.rows import Rows, image_rows, model_rows, plane_rows
from analysis.report.sentences import advice, answer

COLUMNS = 110
MAX_PAIRS = 30
PRECISION = 0.01


def text_report(scores: Scores, plane_classes: str, precision: float = PRECISION) -> str:
    """The answer, the tables, and how many planes `precision` needs."""
    planes, side = scores.shape
    blocks = [
        textwrap.fill(answer(scores, plane_classes), COLUMNS, break_long_words=False, break_on_hyphens=False),
        aligned(model_rows(scores)),
        f"on {planes:,} planes of {side} x {side} points\n" + aligned(_cut(plane_rows(scores))),
        f"on {scores.images:,} images\n" + aligned(_cut(image_rows(scores))),
        textwrap.fill(advice(scores, precision), COLUMNS, break_on_hyphens=False),
    ]
    return "\n\n".join(blocks)


def aligned(rows: Rows) -> str:
    """The rows as lines; the first column starts at the left, the others end at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def _cut(rows: Rows) -> Rows:
    more = len(rows) - 1 - MAX_PAIRS
    return rows if more <= 0 else [*rows[: 1 + MAX_PAIRS], [f"and {more} more pairs", *[""] * (len(rows[0]) - 1)]]
