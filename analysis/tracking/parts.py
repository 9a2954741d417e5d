"""What a sweep's results are tracked as: its curves, and the groups that lie on none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ..findings.curves import EPOCH, WIDTH, Curve, curves, interpolation_threshold
from ..scores.groups import GROUP, KIND, NAMING, first_planes_at_last_epoch, names_of
from ..tables.outcomes import LEFT_OUT


@dataclass(frozen=True)
class Part:
    """A curve, or one group: what one run of the tracking server holds."""

    name: str
    title: str
    """The name without what all parts of its kind have in common."""
    rows: pd.DataFrame
    """Rows of `groups` on the first plane set: one for each width or epoch of the curve, or one alone."""
    others: Mapping[str, pd.DataFrame]
    """The same groups on the other plane sets, by their names."""
    curve: Curve | None

    @property
    def step(self) -> str | None:
        """The column whose values are the metrics' steps; None for a group, which has none."""
        return self.curve.axis.column if self.curve else None

    @property
    def params(self) -> dict[str, Any]:
        """What tells it from the others, and how many models it is about."""
        called = {"epoch": "epochs"}
        given = [column for column in GROUP if (self.rows[column] != "").any()]
        common = {called.get(column, column): _span(self.rows[column]) for column in given}
        by_kind = self.rows.groupby(KIND)[["n_models", *LEFT_OUT]].max()  # the same models at every epoch
        counts = {str(column): int(count) for column, count in by_kind.sum().items()}
        threshold = {"interpolation_threshold": interpolation_threshold(self.curve)} if self.curve else {}
        return common | counts | threshold

    @property
    def kinds(self) -> list[tuple[Any, ...]]:
        """What models have in common that belong to it: values of the columns `KIND`."""
        return list(dict.fromkeys(self.rows[KIND].itertuples(index=False, name=None)))


def parts_of(groups: pd.DataFrame, differences: pd.DataFrame) -> list[Part]:
    """The curves of a sweep over width and over epochs, and its groups that lie on none, at their last epochs."""
    plane_sets = list(dict.fromkeys(groups["plane_set"]))
    by_set = {name: groups[groups["plane_set"] == name] for name in plane_sets}
    first = by_set.pop(plane_sets[0])

    def part(name: str, title: str, rows: pd.DataFrame, curve: Curve | None = None) -> Part:
        others = {plane_set: rows[GROUP].merge(table, on=GROUP) for plane_set, table in by_set.items()}
        return Part(name, title, rows, others, curve)

    parts, on_curve = [], set()
    for axis in (WIDTH, EPOCH):
        found = curves(first, axis, differences)
        titles = _titles(pd.DataFrame([curve.key for curve in found]))
        for curve, title in zip(found, titles, strict=True):
            over = ", over epochs" * (axis is EPOCH)
            name = f"{curve.name}, label noise {curve.key['label_noise']:g}{over}"
            parts.append(part(name, f"{title}{over}", curve.rows, curve))
            on_curve.update(_keys(curve.rows))
    last = first_planes_at_last_epoch(groups)
    last = last[last["n_models"] > 0]
    last = last[[key not in on_curve for key in _keys(last)]]
    for index, title in zip(last.index, _titles(last), strict=True):
        name = f"{last['name'][index]}, label noise {last['label_noise'][index]:g}"
        parts.append(part(name, title, last.loc[[index]]))
    return parts


def telling_columns(table: pd.DataFrame) -> list[str]:
    """What rows that differ in more than their seeds differ in; the architecture if it is nothing."""
    columns = [column for column in (*NAMING, "label_noise") if column in table and table[column].nunique() > 1]
    return columns or ["architecture"]


def _titles(table: pd.DataFrame) -> list[str]:
    return names_of(table, telling_columns(table))


def _keys(rows: pd.DataFrame) -> list[tuple[Any, ...]]:
    return list(rows[GROUP].itertuples(index=False, name=None))


def _span(column: pd.Series[Any]) -> Any:
    """The value that all rows have in common, or from where to where they go."""
    values = list(dict.fromkeys(column))
    return values[0] if len(values) == 1 else f"{min(values)} to {max(values)}"
