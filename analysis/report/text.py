"""A comparison as text for a terminal."""

from __future__ import annotations

import textwrap

from analysis.comparing import Scores
from analysis.report.rows import Rows, image_rows, model_rows, plane_rows
from analysis.report.sentences import advice, answer
from analysis.text_tables import COLUMNS, aligned, with_names_above

MAX_ROWS = 30
"""Of one table; the rest is in the files."""
PRECISION = 0.01


def text_report(scores: Scores, plane_classes: str, precision: float = PRECISION) -> str:
    """The answer, the tables, and how many planes `precision` needs."""
    planes, side = scores.shape
    blocks = [
        textwrap.fill(answer(scores, plane_classes), COLUMNS, break_long_words=False, break_on_hyphens=False),
        "\n".join(aligned(_cut(model_rows(scores), "models"), narrowest=5)),
        "\n".join(
            [
                f"on {planes:,} planes of {side} x {side} points",
                *with_names_above(_cut(plane_rows(scores), "pairs")),
            ]
        ),
        "\n".join([f"on {scores.images:,} images", *with_names_above(_cut(image_rows(scores), "pairs"))]),
        textwrap.fill(advice(scores, precision), COLUMNS, break_on_hyphens=False),
    ]
    return "\n\n".join(blocks)


def _cut(rows: Rows, called: str) -> Rows:
    more = len(rows) - 1 - MAX_ROWS
    return rows if more <= 0 else [*rows[: 1 + MAX_ROWS], [f"and {more} more {called}", *[""] * (len(rows[0]) - 1)]]
