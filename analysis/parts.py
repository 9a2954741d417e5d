"""What a sweep's results are tracked as: its curves, and the groups that lie on none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.curves import EPOCH, WIDTH, Curve, curves, interpolation_threshold
from analysis.findings.sentences import sentence
from analysis.groups import GROUP, at_last_epoch, names_of, records
from analysis.left_out import LEFT_OUT
from analysis.scores.group_scores import SCORES


@dataclass(frozen=True)
class Part:
    """A curve, or one group: what one run of the tracking server holds."""

    name: str
    description: str
    params: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    """Rows of `groups`: their scores are the metrics."""
    step: str
    """The column whose values are the metrics' steps."""


def parts_of(groups: pd.DataFrame, differences: pd.DataFrame) -> list[Part]:
    """The curves of a sweep, and its groups that lie on none."""
    found = [*curves(groups, WIDTH, differences), *curves(groups, EPOCH)]
    parts = [_curve_part(curve) for curve in found]
    keys = ["plane_set", *GROUP]
    on_curve = {key for curve in found for key in curve.rows[keys].itertuples(index=False, name=None)}
    last = at_last_epoch(groups)
    last = last.assign(name=names_of(last))
    alone = [key not in on_curve for key in last[keys].itertuples(index=False, name=None)]
    return parts + [_group_part(row) for row in records(last[alone]) if row["n_models"]]


def _curve_part(curve: Curve) -> Part:
    key = curve.key
    over = "" if curve.axis is WIDTH else " over epochs"
    name = f"{curve.name} noise {key['label_noise']:g} on {key['plane_set']}{over}"
    params = {column: value for column, value in key.items() if column != "name"}
    params |= {"interpolation_threshold": interpolation_threshold(curve), "n_models": curve.rows["n_models"].max()}
    return Part(name, sentence(curve), params, records(curve.rows), curve.axis.column)


def _group_part(row: dict[str, Any]) -> Part:
    name = f"{row['name']} noise {row['label_noise']:g} on {row['plane_set']}"
    params = {column: row[column] for column in ("plane_set", *GROUP, "n_models", *LEFT_OUT)}
    return Part(name, name, params, [row], "epoch")


def metrics_of(part: Part) -> Iterable[tuple[str, float, int]]:
    """The metrics of a part: name, value and step."""
    for score in SCORES:
        for column in (score, f"{score}_low", f"{score}_high"):
            for row in part.rows:
                if pd.notna(row[column]):
                    yield column, float(row[column]), int(row[part.step])
