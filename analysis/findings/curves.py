"""Curves over width and over epochs, and the peak of the test error on them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from ..scores.groups import GROUP, NAMING, at_last_epoch, name_parts, records

THRESHOLD_ERROR = 0.1
"""A training error that counts as small: the epsilon of effective model complexity in Nakkiran et al., arXiv
1912.02292, Section 2, which sets it to 0.1."""
ALL_LABELS = 0.99
"""From this share on, all false labels count as learned."""

SIGNIFICANT = 0.05
MIDDLE, LOWEST, PEAK = "middle", "lowest error", "peak"


@dataclass(frozen=True)
class Axis:
    """A column that curves run over, and the names of their representative points."""

    column: str
    first: str
    best: str
    """The smallest error before the peak."""
    last: str
    points: int
    """The fewest points that make a curve."""


WIDTH = Axis("width", "narrowest", "best narrow", "widest", 3)
EPOCH = Axis("epoch", "first", "best early", "last", 2)


@dataclass(frozen=True)
class Curve:
    """Groups that differ only in their width, or only in their epoch."""

    axis: Axis
    key: dict[str, Any]
    """Columns of `groups` that the groups have in common."""
    name_parts: tuple[str, ...]
    """Tells the curve from the others; see `scores.groups.name_parts`."""
    rows: pd.DataFrame
    """Rows of `groups`, ascending, without groups that have no model."""
    differences: pd.DataFrame
    """Test errors of its groups compared pair by pair: rows of the table `differences`. Empty over epochs."""

    @property
    def name(self) -> str:
        """The parts of the name as text."""
        return ", ".join(self.name_parts)

    @cached_property
    def small_train_error(self) -> int | None:
        """From which width (epoch) on every training error is at most `THRESHOLD_ERROR`; None if from none."""
        return self._from_where_on(self.rows["train_error"] <= THRESHOLD_ERROR)

    @cached_property
    def interpolation_threshold(self) -> int | None:
        """From which width (epoch) on at least `ALL_LABELS` of the false labels are learned; None if from none.

        Without false labels, as much of all training labels.
        """
        learned = self.rows["false_labels_learned"].fillna(1 - self.rows["train_error"])
        return self._from_where_on(learned >= ALL_LABELS)

    def _from_where_on(self, holds: "pd.Series[bool]") -> int | None:
        lacking = holds.index[~holds]
        first = lacking[-1] + 1 if len(lacking) else 0
        return int(self.rows[self.axis.column][first]) if first < len(self.rows) else None

    @cached_property
    def representative_rows(self) -> dict[str, int]:
        """Row numbers by name: the first, the best before the peak, the peak, and the last.

        The peak of the test error is the point that rises furthest above the lowest points on both sides of it; the
        best before it is the lowest one there. Without a peak there are only the two ends.
        """
        error, axis = self.rows["test_error"], self.axis
        last = len(error) - 1
        rises = [min(error[row] - error[:row].min(), error[row] - error[row + 1 :].min()) for row in range(1, last)]
        if max(rises, default=0.0) <= 0:
            return {axis.first: 0, axis.last: last}
        peak = rises.index(max(rises)) + 1
        best = int(error[:peak].to_numpy().argmin())
        return {**({axis.first: 0} if best else {}), axis.best: best, PEAK: peak, axis.last: last}

    @cached_property
    def has_peak(self) -> bool:
        """Whether the test error has a peak beyond chance: `peak_p_value` is below 5 %.

        Where there is no p-value, as over epochs, the interval of the peak must lie above those of the best point
        before it and of the last point.
        """
        rows, p_value = self.representative_rows, self.peak_p_value
        if PEAK not in rows or not math.isnan(p_value):
            return p_value < SIGNIFICANT
        high = self.rows["test_error_high"][[rows[self.axis.best], rows[self.axis.last]]]
        return bool(self.rows["test_error_low"][rows[PEAK]] > high.max())

    @cached_property
    def peak_p_value(self) -> float:
        """The probability of such a peak by chance; NaN without a peak, or if its points were not compared.

        The error at the peak must exceed both that of the best point before it and that of the last, on the same
        images. Therefore the larger of the two one-sided p-values counts (an intersection-union test). It is
        multiplied by the number of ways to choose the peak and the point before it (Bonferroni).
        """
        rows = self.representative_rows
        if PEAK not in rows or self.differences.empty:
            return math.nan
        p_values = [self._p_value_of_fall(rows[PEAK], rows[other]) for other in (self.axis.best, self.axis.last)]
        last = len(self.rows) - 1
        return math.nan if any(map(math.isnan, p_values)) else min(1.0, max(p_values) * last * (last - 1) / 2)

    def _p_value_of_fall(self, peak: int, other: int) -> float:
        """One-sided p-value of the hypothesis that the error at row `peak` is not larger than at row `other`.

        NaN if the two were not compared: `differences` compares only groups at their best learning rates.
        """
        at, pairs = self.rows[self.axis.column], self.differences
        side_a, side_b = (pairs[f"{self.axis.column}_{side}"] for side in "ab")
        for first, second, sign in ((peak, other, 1), (other, peak, -1)):
            for row in records(pairs[(side_a == at[first]) & (side_b == at[second])]):
                half = float(row["p_value"]) / 2
                return half if sign * row["difference"] > 0 else 1 - half
        return math.nan

    @property
    def shown_rows(self) -> dict[str, int]:
        """Row numbers for tables and pictures, by name, ascending.

        Without a peak: both ends and the middle or, over epochs, the lowest error.
        """
        last = len(self.rows) - 1
        lowest = int(self.rows["test_error"].to_numpy().argmin())
        between = {LOWEST: lowest} if self.axis is EPOCH else {MIDDLE: last // 2}
        ends = {self.axis.first: 0, **between, self.axis.last: last}
        named_once = {
            row: name for name, row in reversed((self.representative_rows if self.has_peak else ends).items())
        }
        return {name: row for row, name in sorted(named_once.items())}


def curves(groups: pd.DataFrame, axis: Axis, differences: pd.DataFrame | None = None) -> list[Curve]:
    """The curves over `axis` with enough points: over width at the last epoch, over epochs at each width.

    Curves over width must hold at least half of the groups. Otherwise a few widths of one architecture, compared with
    many others, would pass for a curve.
    """
    table = groups if axis is EPOCH else at_last_epoch(groups)
    keys = [column for column in ("plane_set", *GROUP) if column in table and column not in (axis.column, "epoch")]
    if "n_models" in table:
        table = table[table["n_models"] > 0]
    kept = [
        (dict(zip(keys, key, strict=True)), rows.sort_values(axis.column).reset_index(drop=True))
        for key, rows in table.groupby(keys, sort=False)
        if rows[axis.column].nunique() >= axis.points
    ]
    if axis is WIDTH and 2 * sum(len(rows) for _, rows in kept) < len(table):
        kept = []
    names = name_parts(
        pd.DataFrame([key for key, _ in kept], columns=keys), [column for column in NAMING if column in keys]
    )
    return [
        Curve(axis, key, name, rows, _within(differences, key, axis))
        for (key, rows), name in zip(kept, names, strict=True)
    ]


def _within(differences: pd.DataFrame | None, key: dict[str, Any], axis: Axis) -> pd.DataFrame:
    """The differences of test errors between two groups that both have `key`."""
    if differences is None or differences.empty or axis is EPOCH:
        return pd.DataFrame()
    kept = differences[differences["score"] == "test_error"]
    for column, value in key.items():
        for name in (column,) if column in kept else (f"{column}_a", f"{column}_b"):
            kept = kept[kept[name] == value]
    return kept


def representative_curves(found: Sequence[Curve], most: int) -> list[Curve]:
    """At most `most` curves: of too many, evenly many of those with the most label noise."""
    noisiest = max((curve.key["label_noise"] for curve in found), default=0.0)
    kept = [curve for curve in found if len(found) <= most or curve.key["label_noise"] == noisiest]
    return [kept[row] for row in evenly(len(kept), most)]


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to `count` - 1, evenly spaced, with both ends."""
    if count <= most:
        return list(range(count))
    return [round(index * (count - 1) / (most - 1)) for index in range(most)]
