"""What a sweep found, in one sentence each, with its numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.curves import (
    EPOCH,
    PEAK,
    THRESHOLD_ERROR,
    WIDTH,
    Curve,
    has_peak,
    interpolation_threshold,
    lowest_row,
    peak_p_value,
    telling_rows,
)
from analysis.groups import NETWORK, first_planes_at_last_epoch, names_by_group, names_of, records
from analysis.left_out import LEFT_OUT
from analysis.recipes import at_best_rate

MAX_NAMED = 6
"""Groups that one sentence names."""


def tested_on(groups: pd.DataFrame) -> str:
    """ "test", or "held-out" where settings are chosen on images held out of training."""
    return str(groups["tested_on"].iloc[0])


def sentence(curve: Curve) -> str:
    """What one curve shows, with its numbers."""
    axis, key = curve.axis, curve.key
    error_name = f"{tested_on(curve.rows)} error"
    threshold = interpolation_threshold(curve)
    where = (
        f"the interpolation threshold (training error at most {THRESHOLD_ERROR:.0%}) lies at {axis.column} {threshold}"
        if threshold is not None
        else f"no {axis.column} interpolates (training error at most {THRESHOLD_ERROR:.0%})"
    )
    kind = "double descent" if axis is WIDTH else "double descent over the epochs"
    start = f"{curve.name}, label noise {key['label_noise']:g}, {key['plane_set']} planes: "
    if not has_peak(curve):
        beyond = "the intervals" if curve.differences.empty else "chance"
        last = curve.rows.iloc[-1]
        agree = f", where two trainings agree on {last['reproducibility']:.0%} of the points" if _known(last) else ""
        lowest = curve.rows.iloc[lowest_row(curve)]
        low = f"is lowest, {lowest['test_error']:.1%}, at epoch {lowest['epoch']} and " if axis is EPOCH else ""
        return (
            f"{start}no {kind} beyond {beyond}; {error_name} {low}ends at {last['test_error']:.1%} at "
            f"{axis.column} {last[axis.column]}{agree}; {where}."
        )
    rows = telling_rows(curve)
    best, peak, last = (curve.rows.iloc[rows[name]] for name in (axis.best, PEAK, axis.last))
    name = axis.column
    text = (
        f"{start}{kind}{_probability(curve)}: {error_name} falls to {best['test_error']:.1%} at {name} {best[name]}, "
        f"peaks at {peak['test_error']:.1%} at {name} {peak[name]} and falls to {last['test_error']:.1%} at {name} "
        f"{last[name]}"
    )
    if _known(peak) and _known(last):
        text += (
            f"; at the peak two trainings agree on {peak['reproducibility']:.0%} of the points, "
            f"at {axis.column} {last[axis.column]} on {last['reproducibility']:.0%}"
        )
    if pd.notna(peak["fragmentation"]):
        text += f"; a plane has {peak['fragmentation']:.1f} regions at the peak, {last['fragmentation']:.1f} at the end"
    return f"{text}; {where}."


def _probability(curve: Curve) -> str:
    p_value = peak_p_value(curve)
    if math.isnan(p_value):
        return ""
    return " (p < 0.001)" if p_value < 0.001 else f" (p = {p_value:.3f})"


def rates_sentence(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which best learning rates lie at an end of their grid; nothing if none does."""
    named = [
        f"{row['name']}, label noise {row['label_noise']:g} ({row['learning_rate']:g}, the {row['at_end']})"
        for row in rows
        if row["at_end"]
    ]
    if not named:
        return []
    return [
        "A best learning rate lies at an end of its grid, so that a better one may lie outside; extend the grid: "
        f"{listed(named)}."
    ]


def choice_sentence(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """That learning rates were chosen on test images, if they were."""
    if not any(row["tested_on"] == "test" for row in rows):
        return []
    return [
        "The best learning rates are those with the smallest test error; dataset.held_out would choose them without "
        "the test images."
    ]


def extremes(groups: pd.DataFrame, between: pd.DataFrame) -> list[str]:
    """Which trainings agree most and least, within groups and between them, on the first plane set."""
    plane_set = groups["plane_set"].iloc[0]
    best = at_best_rate(groups)
    best = best.assign(name=names_of(best))
    known = best[(best["plane_set"] == plane_set) & best["reproducibility"].notna()]
    sentences = []
    for noise, rows in known.groupby("label_noise", sort=False):
        start = f"label noise {noise:g}, {plane_set} planes: "
        if len(rows) > 1:
            most, least = (rows.loc[rows["reproducibility"].idxmax()], rows.loc[rows["reproducibility"].idxmin()])
            sentences.append(
                f"{start}two trainings agree most for {most['name']} ({_percent(most, 'reproducibility')} of the "
                f"points) and least for {least['name']} ({_percent(least, 'reproducibility')})."
            )
        cells = between[(between["label_noise"] == noise) & (between["plane_set"] == plane_set)]
        if len(cells) > 1:
            sides = (names_by_group(best, cells, ending=f"_{side}") for side in "ab")
            cells = cells.assign(pair=[" / ".join(names) for names in zip(*sides, strict=True)])
            most, least = (cells.loc[cells["reproducibility"].idxmax()], cells.loc[cells["reproducibility"].idxmin()])
            sentences.append(
                f"{start}of trainings of different kinds, {most['pair']} agree most "
                f"({_percent(most, 'reproducibility')}), {least['pair']} least ({_percent(least, 'reproducibility')})."
            )
    return sentences


def sharpness_sentences(groups: pd.DataFrame) -> list[str]:
    """What the recipes do to the sharpness of each network that has several; nothing if there is none."""
    best = at_best_rate(groups)
    best = best[(best["plane_set"] == best["plane_set"].iloc[0]) & best["sharpness"].notna()]
    best = best.assign(network=names_of(best, NETWORK))
    sentences = []
    for (network, noise), rows in best.groupby(["network", "label_noise"], sort=False):
        if rows["recipe"].nunique() > 1:
            each = (
                f"{row['recipe']} {row['sharpness']:.2g} [{row['sharpness_low']:.2g}, {row['sharpness_high']:.2g}]"
                for row in records(rows)
            )
            sentences.append(f"sharpness of {network}, label noise {noise:g}: {', '.join(each)}.")
    return sentences


def distillation_sentence(row: Mapping[str, Any]) -> str:
    """Whether students resemble their teachers more than undistilled models do."""
    if row["student_agreement_low"] > row["control_agreement_high"]:
        verdict = "distilled students resemble their teachers more"
    elif row["student_agreement_high"] < row["control_agreement_low"]:
        verdict = "distilled students resemble their teachers less"
    else:
        verdict = "no difference beyond the intervals"
    start = " (both start from the same weights)" if row["same_start"] else ""
    return (
        f"label noise {row['label_noise']:g}, {row['plane_set']} planes: students ({row['student']}) agree with their "
        f"own teachers ({row['teacher']}) on {_percent(row, 'student_agreement')} of the points{start}, undistilled "
        f"models ({row['control']}) agree with these teachers on {_percent(row, 'control_agreement')}: {verdict}."
    )


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


def _percent(row: Mapping[str, Any] | pd.Series[Any], score: str) -> str:
    value, low, high = (100 * row[f"{score}{end}"] for end in ("", "_low", "_high"))
    return f"{value:.1f}% [{low:.1f}, {high:.1f}]"


def _known(row: pd.Series[Any]) -> bool:
    return bool(pd.notna(row["reproducibility"]))
