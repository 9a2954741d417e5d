"""How intervals stand in tables."""

from __future__ import annotations

from typing import Any

from analysis.statistics.intervals import Interval

NAN = float("nan")


def ends(score: str, interval: Interval | None) -> dict[str, float]:
    """The columns of a score's interval; NaN for a score that is not known."""
    return {
        f"{score}_low": interval.low if interval else NAN,
        f"{score}_high": interval.high if interval else NAN,
    }


def value_and_ends(score: str, interval: Interval | None) -> dict[str, float]:
    """The columns of a score and its interval; NaN for a score that is not known."""
    return {score: interval.value if interval else NAN, **ends(score, interval)}


def with_covers(score: str, interval: Interval) -> dict[str, Any]:
    """The columns of a score, its interval, and what that is about."""
    return {**value_and_ends(score, interval), f"{score}_interval_covers": covers_text(interval)}


def covers_text(interval: Interval | None) -> str:
    """What an interval over models and planes is about."""
    return interval.covers.replace("items", "planes") if interval else "nothing"
