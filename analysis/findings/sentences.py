"""What a sweep found, in one sentence each, with its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..scores.groups import first_planes_at_last_epoch, records
from ..tables.outcomes import LEFT_OUT
from .curves import (
    EPOCH,
    PEAK,
    THRESHOLD_ERROR,
    WIDTH,
    Curve,
    has_peak,
    interpolation_threshold,
    peak_p_value,
    representative_rows,
)

MAX_NAMED = 6
"""Groups that one sentence names."""


def tested_on(groups: pd.DataFrame) -> str:
    """ "test", or "held-out" where settings are chosen on images held out of training."""
    return str(groups["tested_on"].iloc[0])


def sentence(curve: Curve) -> str:
    """What one curve shows, with its numbers."""
    axis, key = curve.axis, curve.key
    name, error_name = axis.column, f"{tested_on(curve.rows)} error"
    kind = "double descent" if axis is WIDTH else "double descent over the epochs"
    start = f"{curve.name}, label noise {key['label_noise']:g}, {key['plane_set']} planes: "
    if not has_peak(curve):
        beyond = "the intervals" if curve.differences.empty else "chance"
        last = curve.rows.iloc[-1]
        lowest = curve.rows.iloc[int(curve.rows["test_error"].to_numpy().argmin())]
        low = f"is lowest, {percent(lowest, 'test_error')}, at epoch {lowest['epoch']} and " if axis is EPOCH else ""
        agree = f", where two trainings agree on {_wholepercent(last)} of the points" if _known(last) else ""
        return (
            f"{start}no {kind} beyond {beyond}: the {error_name} {low}ends at {percent(last, 'test_error')} at {name} "
            f"{last[name]}{agree}. {_memorised(curve)}"
        )
    rows = representative_rows(curve)
    best, peak, last = (curve.rows.iloc[rows[point]] for point in (axis.best, PEAK, axis.last))
    text = (
        f"{start}{kind}{_probability(curve)}: the {error_name} falls to {percent(best, 'test_error')} at {name} "
        f"{best[name]}, peaks at {percent(peak, 'test_error')} at {name} {peak[name]} and falls to "
        f"{percent(last, 'test_error')} at {name} {last[name]}."
    )
    if _known(peak) and _known(last):
        less = peak["reproducibility_high"] < last["reproducibility_low"]
        text += (
            f" At the peak two trainings {'are less alike: they ' if less else ''}agree on {_wholepercent(peak)} of "
            f"the points, at {name} {last[name]} on {_wholepercent(last)}."
        )
    if pd.notna(peak["fragmentation"]):
        text += f" A plane has {regions_text(peak)} regions at the peak, {regions_text(last)} at {name} {last[name]}."
    return f"{text} {_memorised(curve)}"


def _memorised(curve: Curve) -> str:
    """From where on a network learns its training labels by heart."""
    axis, threshold = curve.axis.column, interpolation_threshold(curve)
    error = f"training error at most {THRESHOLD_ERROR:.0%}"
    if threshold is None:
        return f"The training labels are memorised at no {axis} (interpolation threshold: {error})."
    return f"From {axis} {threshold} on the training labels are memorised (interpolation threshold: {error})."


def _probability(curve: Curve) -> str:
    p_value = peak_p_value(curve)
    if math.isnan(p_value):
        return ""
    return " (p < 0.001)" if p_value < 0.001 else f" (p = {p_value:.3f})"


def left_out_sentences(groups: pd.DataFrame) -> list[str]:
    """How many trainings diverged, and how many failed, and where; nothing if none did."""
    last = first_planes_at_last_epoch(groups)
    last = last.assign(n_asked_for=last[["n_models", *LEFT_OUT]].sum(axis=1))
    sentences = []
    for column, what in LEFT_OUT.items():
        named = [
            f"{row['name']}, label noise {row['label_noise']:g} ({row[column]} of {row['n_asked_for']})"
            for row in records(last[last[column] > 0])
        ]
        if named:
            reasons = " (the table outcomes tells why)" if column == "n_failed" else ""
            count = f"{last[column].sum()} of {last['n_asked_for'].sum()}"
            sentences.append(f"{count} trainings {what} and are left out{reasons}: {listed(named)}.")
    return sentences


def listed(named: Sequence[str]) -> str:
    """What is named, or the first of it and how many more there are."""
    more = len(named) - MAX_NAMED
    return "; ".join([*named[:MAX_NAMED], *([f"and {more} more, see the table groups"] if more > 0 else [])])


def percent(row: Mapping[str, Any] | pd.Series[Any], score: str) -> str:
    """A share with its interval: `51.2% [47.9, 54.4]`."""
    value, low, high = (100 * row[f"{score}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def _wholepercent(row: pd.Series[Any]) -> str:
    """The reproducibility."""
    value, low, high = (100 * row[f"reproducibility{end}"] for end in ("", "_low", "_high"))
    return f"{value:.0f}% [{low:.0f}, {high:.0f}]"


def regions_text(row: Mapping[str, Any] | pd.Series[Any], score: str = "fragmentation", digits: int = 1) -> str:
    """A number with its interval: `7.0 [6.7, 7.4]`."""
    value, low, high = (row[f"{score}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _known(row: pd.Series[Any]) -> bool:
    return bool(pd.notna(row["reproducibility"]))
