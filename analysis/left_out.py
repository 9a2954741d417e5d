"""Models that no score is about: which they are, and what is said of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dbviz_ray.outcomes import Outcome

LEFT_OUT = {"n_diverged": "diverged", "n_failed": "failed"}
"""The columns of the table `groups` that count them, each model in one alone, and what happened to them."""


def lost_models(outcomes: pd.DataFrame) -> dict[str, pd.Series[bool]]:
    """Which rows of the table `outcomes` each of the columns `LEFT_OUT` counts."""
    diverged = outcomes["outcome"] == Outcome.DIVERGED
    return {"n_diverged": diverged, "n_failed": ~diverged & (outcomes["outcome"] != Outcome.DONE)}


def what_happened(counts: Mapping[str, Any]) -> str:
    """`diverged`, `failed`, or `diverged or failed`, from the numbers in the columns `LEFT_OUT`."""
    return " or ".join(what for column, what in LEFT_OUT.items() if counts[column])
