"""How work on a sweep's models ended, as text for a terminal of 110 columns."""

from __future__ import annotations

import textwrap
from typing import Any

import pandas as pd

from analysis.groups import records
from analysis.left_out import lost_models
from analysis.text_tables import COLUMNS
from dbviz_ray.outcomes import Outcome

MAX_NAMED, MAX_LINES = 5, 3
"""Models that are named, and lines about each."""


def outcomes_text(outcomes: pd.DataFrame) -> str:
    """How many models ended how, from the table `outcomes`; then the first that failed, with stage and reason."""
    counts = outcomes["outcome"].value_counts()
    how_many = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if outcome in counts)
    failed = records(outcomes[lost_models(outcomes)["n_failed"]])
    lines = [f"{len(outcomes)} models: {how_many}", *map(_named, failed[:MAX_NAMED])]
    more = len(failed) - MAX_NAMED
    return "\n".join([*lines, f"  and {more} more: see scores/outcomes.csv"] if more > 0 else lines)


def _named(row: dict[str, Any]) -> str:
    return textwrap.fill(
        f"{row['model_id']}: {row['stage']}, {row['outcome']}: {row['reason']}",
        COLUMNS,
        initial_indent="  ",
        subsequent_indent="    ",
        max_lines=MAX_LINES,
        placeholder=" ...",
        break_on_hyphens=False,
    )
