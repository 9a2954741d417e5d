"""Curves over width and over epochs, and the peaks of scores on them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from ..scores.groups import GROUP, NAMING, alike, at_last_epoch, name_parts, records
from ..statistics.peaks import place_of_peak
from ..tables.scored import SIGNIFICANT

SMALL_ERROR = 0.1
"""A training error that counts as small: the epsilon of effective model complexity in Nakkiran et al., arXiv
1912.02292, Section 2, which sets it to 0.1."""
ALL_LABELS = 0.99
"""From this share on, all false labels count as learned."""

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
    peaks: Mapping[str, Mapping[str, Any]]
    """Its rows of the table `peaks`, by score. Empty over epochs, where the same models are no independent samples."""

    @property
    def name(self) -> str:
        """The parts of the name as text."""
        return ", ".join(self.name_parts)

    @cached_property
    def small_train_error(self) -> int | None:
        """From which width (epoch) on every training error is at most `SMALL_ERROR`; None if from none."""
        return self._from_where_on(self.rows["train_error"] <= SMALL_ERROR)

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
        error, axis = self.rows["test_error"].to_numpy(), self.axis
        last, peak = len(error) - 1, place_of_peak(error)
        if peak is None:
            return {axis.first: 0, axis.last: last}
        best = int(error[:peak].argmin())
        return {**({axis.first: 0} if best else {}), axis.best: best, PEAK: peak, axis.last: last}

    @cached_property
    def has_peak(self) -> bool:
        """Whether the test error has a peak beyond chance: its p-value in the table `peaks` is below 5 %.

        Where nothing was tested, as over epochs, the interval of the peak must lie above those of the best point before
        it and of the last point.
        """
        rows = self.representative_rows
        if PEAK not in rows:
            return False
        if "test_error" in self.peaks:
            return self.peak_p_value < SIGNIFICANT
        high = self.rows["test_error_high"][[rows[self.axis.best], rows[self.axis.last]]]
        return bool(self.rows["test_error_low"][rows[PEAK]] > high.max())

    @property
    def peak_p_value(self) -> float:
        """The probability of such a peak of the test error by chance; NaN without a peak or a test."""
        return float(self.peaks["test_error"]["p_value"]) if "test_error" in self.peaks else math.nan

    @property
    def shown_rows(self) -> dict[str, int]:
        """Row numbers for tables and pictures, by name, ascending.

        Without a peak: both ends and the middle or, over epochs, the lowest error.
        """
        last = len(self.rows) - 1
        lowest = int(self.rows["test_error"].to_numpy().argmin())
        between = {LOWEST: lowest} if self.axis is EPOCH else {MIDDLE: last // 2}
        ends = {self.axis.first: 0, **between, self.axis.last: last}
        shown = self.representative_rows if self.has_peak else ends
        named_once = {row: name for name, row in reversed(shown.items())}
        return {name: row for row, name in sorted(named_once.items())}


def curves(groups: pd.DataFrame, axis: Axis, peaks: pd.DataFrame | None = None) -> list[Curve]:
    """The curves over `axis` with enough points: over width at the last epoch, over epochs at each width.

    Curves over width must hold at least half of the groups. Otherwise a few widths of one architecture, compared with
    many others, would pass for a curve.
    """
    table = groups if axis is EPOCH else at_last_epoch(groups)
    keys = [column for column in ("plane_set", *GROUP) if column in table and column not in (axis.column, "epoch")]
    if "n_models" in table:
        table = table[table["n_models"] > 0]
    kept = [
        (dict(zip(keys, key, strict=True)), rows.sort_values(axis.column, ignore_index=True))
        for key, rows in table.groupby(keys, sort=False)
        if rows[axis.column].nunique() >= axis.points
    ]
    if axis is WIDTH and 2 * sum(len(rows) for _, rows in kept) < len(table):
        kept = []
    found = pd.DataFrame([key for key, _ in kept], columns=keys)
    names = name_parts(found, [column for column in NAMING if column in keys])
    tested = [[] if peaks is None or axis is EPOCH else records(alike(peaks, key, keys)) for key, _ in kept]
    return [
        Curve(axis, key, name, rows, {row["score"]: row for row in of_curve})
        for (key, rows), name, of_curve in zip(kept, names, tested, strict=True)
    ]


def representative_curves(found: Sequence[Curve], most: int) -> list[Curve]:
    """At most `most` curves: of too many, evenly many of those with the most label noise."""
    noisiest = max((curve.key["label_noise"] for curve in found), default=0.0)
    kept = [curve for curve in found if len(found) <= most or curve.key["label_noise"] == noisiest]
    return [kept[row] for row in evenly(len(kept), most)]


def evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers 0 to `count` - 1, evenly spaced, with both ends."""
    chosen = min(count, most)
    return [round(index * (count - 1) / max(chosen - 1, 1)) for index in range(chosen)]
