"""What a sweep found, in a few rows and one sentence per label-noise level."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

THRESHOLD_ERROR = 0.1
"""A width interpolates when its training error on the given labels is at most this: the epsilon of effective model
complexity in Nakkiran et al., arXiv 1912.02292, Section 2, which sets it to 0.1."""

NARROWEST, BEST_NARROW, PEAK, WIDEST = "narrowest", "best narrow", "peak", "widest"


def curves(table: pd.DataFrame) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The groups of `double_descent` that differ in width alone, each sorted by width."""
    keys = ["plane_set", "architecture", "label_noise"]
    return [
        (dict(zip(keys, key, strict=True)), rows.sort_values("width").reset_index(drop=True))
        for key, rows in table.groupby(keys, sort=False)
    ]


def interpolation_threshold(curve: pd.DataFrame) -> int | None:
    """The smallest width from which on every training error is at most `THRESHOLD_ERROR`; None if there is none."""
    above = curve.index[curve["train_error"] > THRESHOLD_ERROR]
    first = above[-1] + 1 if len(above) else 0
    return int(curve["width"][first]) if first < len(curve) else None


def telling_widths(curve: pd.DataFrame) -> dict[str, int]:
    """Row numbers of the curve that tell its story: narrowest, best narrow, peak (if there is one), widest.

    The peak of the test error is the highest point that lies between two lower ones, and the best narrow width is
    the lowest one before it. Without such a peak only the ends are named.
    """
    error = curve["test_error"]
    last = len(error) - 1
    peak, height = None, 0.0
    for row in range(1, last):
        rise = min(error[row] - error[:row].min(), error[row] - error[row + 1 :].min())
        if rise > height:
            peak, height = row, rise
    if peak is None:
        return {NARROWEST: 0, WIDEST: last}
    best = int(error[:peak].to_numpy().argmin())
    rows = {NARROWEST: 0, BEST_NARROW: best, PEAK: peak, WIDEST: last}
    return rows if best else {name: row for name, row in rows.items() if name != NARROWEST}


def has_peak(curve: pd.DataFrame) -> bool:
    """Whether the test error has a peak whose interval lies above those of the best narrow and the widest network."""
    rows = telling_widths(curve)
    if PEAK not in rows:
        return False
    low = curve["test_error_low"][rows[PEAK]]
    return bool(low > curve["test_error_high"][rows[BEST_NARROW]] and low > curve["test_error_high"][rows[WIDEST]])


def shown_rows(curve: pd.DataFrame) -> dict[str, int]:
    """Row numbers that tables and pictures show, by name, in the order of width; without a peak the ends and middle."""
    last = len(curve) - 1
    rows = telling_widths(curve) if has_peak(curve) else {NARROWEST: 0, "middle": last // 2, WIDEST: last}
    named_once = {row: name for name, row in reversed(rows.items())}
    return {name: row for row, name in sorted(named_once.items())}


def summary_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of every curve that are shown, named in the column `point`."""
    shown = [(curve, shown_rows(curve)) for _, curve in curves(table)]
    parts = [curve.iloc[list(rows.values())].assign(point=list(rows)) for curve, rows in shown]
    return pd.concat(parts, ignore_index=True)


def sentence(curve_key: dict[str, Any], curve: pd.DataFrame) -> str:
    """What one curve shows, with its numbers."""
    threshold = interpolation_threshold(curve)
    where = (
        f"the interpolation threshold (training error at most {THRESHOLD_ERROR:.0%}) lies at width {threshold}"
        if threshold is not None
        else f"no width interpolates (training error at most {THRESHOLD_ERROR:.0%})"
    )
    start = f"{curve_key['architecture']}, label noise {curve_key['label_noise']:g}, {curve_key['plane_set']} planes: "
    if not has_peak(curve):
        last = curve.iloc[-1]
        agree = f", where two trainings agree on {last['reproducibility']:.0%} of the points" if _known(last) else ""
        return (
            f"{start}no double descent beyond the intervals; test error ends at {last['test_error']:.1%} at width "
            f"{last['width']}{agree}; {where}."
        )
    rows = telling_widths(curve)
    best, peak, widest = (curve.iloc[rows[name]] for name in (BEST_NARROW, PEAK, WIDEST))
    text = (
        f"{start}double descent: test error falls to {best['test_error']:.1%} at width {best['width']}, peaks at "
        f"{peak['test_error']:.1%} at width {peak['width']} and falls to {widest['test_error']:.1%} at width "
        f"{widest['width']}"
    )
    if _known(peak) and _known(widest):
        text += (
            f"; at the peak two trainings agree on {peak['reproducibility']:.0%} of the points, "
            f"at width {widest['width']} on {widest['reproducibility']:.0%}"
        )
    if not math.isnan(peak["fragmentation"]):
        text += (
            f"; a plane has {peak['fragmentation']:.1f} regions at the peak, {widest['fragmentation']:.1f} at the end"
        )
    return f"{text}; {where}."


def findings(table: pd.DataFrame) -> dict[str, Any]:
    """Sentences and telling rows, as values that JSON can hold."""
    keyed = curves(table)
    rows = summary_rows(table)
    return {
        "sentences": [sentence(key, curve) for key, curve in keyed],
        "thresholds": [{**key, "width": interpolation_threshold(curve)} for key, curve in keyed],
        "rows": rows.astype(object).where(rows.notna(), None).to_dict(orient="records"),
    }


def summary_text(found: dict[str, Any]) -> str:
    """The short table and the sentences, for a terminal."""
    varying = [name for name in ("architecture", "plane_set") if len({row[name] for row in found["rows"]}) > 1]
    wide = {name: max(len(row[name]) for row in found["rows"]) for name in varying}
    lines = [
        f"{'':12} {'width':>6} {'noise':>6} {'train error':>12} {'test error':>22} "
        f"{'reproducibility':>22} {'regions':>20}"
    ]
    for row in found["rows"]:
        scores = [
            _with_interval(row, "test_error", 22, 3),
            _with_interval(row, "reproducibility", 22, 3),
            _with_interval(row, "fragmentation", 20, 2),
        ]
        start = f"{row['point']:12} {row['width']:>6} {row['label_noise']:>6g} {row['train_error']:>12.3f}"
        lines.append(" ".join([start, *scores]))
    for name in reversed(varying):
        names = ["", *(row[name] for row in found["rows"])]
        lines = [f"{value:{wide[name]}} {line}" for value, line in zip(names, lines, strict=True)]
    return "\n".join([*lines, "", *found["sentences"]])


def _with_interval(row: dict[str, Any], score: str, width: int, digits: int) -> str:
    value, low, high = (row[name] for name in (score, f"{score}_low", f"{score}_high"))
    if value is None:
        return f"{'-':>{width}}"
    return f"{f'{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]':>{width}}"


def _known(row: pd.Series[Any]) -> bool:
    return not math.isnan(row["reproducibility"])
