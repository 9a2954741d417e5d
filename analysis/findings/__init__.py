"""What a sweep found, as rows and one sentence each; which findings there are depends on what the sweep varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.curves import (
    EPOCH,
    WIDTH,
    Curve,
    curves,
    has_peak,
    interpolation_threshold,
    shown_rows,
    telling_curves,
)
from analysis.findings.remarks import constant_sentences, margin_sentences, resolution_sentences, stream_sentences
from analysis.findings.sentences import (
    choice_sentence,
    distillation_sentence,
    extremes,
    left_out_sentences,
    rates_sentence,
    sentence,
    sharpness_sentences,
    tested_on,
)
from analysis.groups import GROUP, at_last_epoch, names_by_group, names_of
from analysis.recipes import compares_recipes, learning_rates

MAX_EPOCH_CURVES = 4
"""Curves over the epochs that rows and sentences tell of."""


def findings(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Rows and sentences, as values that JSON can hold.

    - `curves`: the shown points of every curve over width, and of the telling ones over epochs, named in `point`; on
      the first plane set, with the regions on the others in `other_planes`.
    - `thresholds`: where each of all curves starts to interpolate.
    - `by_recipe`, `learning_rates`, `distillation`: a row each, where the sweep has such.
    - `groups`: every group at its last epoch, in a sweep that has none of these.
    - `sentences`.
    """
    groups = tables["groups"]
    first = groups[groups["plane_set"] == groups["plane_set"].iloc[0]]
    over_width, over_epochs = curves(first, WIDTH, tables["differences"]), curves(first, EPOCH)
    with_peak = [curve for curve in over_epochs if has_peak(curve)]
    shown = [*over_width, *telling_curves(with_peak or over_epochs, MAX_EPOCH_CURVES)]
    compared = compares_recipes(groups)
    found: dict[str, Any] = {
        "tested_on": tested_on(groups),
        "curves": [
            {"name": curve.name, "axis": curve.axis.column, "rows": _records(_shown(curve, groups))} for curve in shown
        ],
        "thresholds": [
            {**curve.key, "axis": curve.axis.column, "at": interpolation_threshold(curve)}
            for curve in (*over_width, *over_epochs)
        ],
        "by_recipe": _records(tables["by_recipe"]) if "by_recipe" in tables else [],
        "learning_rates": _plain(learning_rates(groups)),
        "distillation": _records(_named(tables["distillation"], groups)) if "distillation" in tables else [],
        "sentences": [sentence(curve) for curve in shown],
    }
    if len(over_epochs) > len(shown) - len(over_width):
        found["sentences"].append(
            f"{len(with_peak)} of {len(over_epochs)} curves over the epochs show double descent beyond the intervals."
        )
    last = at_last_epoch(groups)
    plain = not (shown or compared or found["learning_rates"])
    found["groups"] = _records(last.assign(name=names_of(last))) if plain else []
    if compared:
        found["sentences"] += extremes(groups, tables["between_groups"])
    found["sentences"] += [*rates_sentence(found["learning_rates"]), *choice_sentence(found["learning_rates"])]
    found["sentences"] += [distillation_sentence(row) for row in found["distillation"]]
    found["sentences"] += [*left_out_sentences(groups), *(sharpness_sentences(groups) if compared else [])]
    found["sentences"] += margin_sentences(over_width)
    found["sentences"] += stream_sentences(tables["streams"]) if "streams" in tables else []
    found["sentences"] += resolution_sentences(tables["resolution"], groups) if over_width else []
    found["sentences"] += constant_sentences(groups)
    return found


def _shown(curve: Curve, groups: pd.DataFrame) -> pd.DataFrame:
    rows = shown_rows(curve)
    shown = curve.rows.iloc[list(rows.values())]
    regions = ["fragmentation", "fragmentation_low", "fragmentation_high"]
    others = groups[groups["plane_set"] != curve.key["plane_set"]]
    by_set = [
        others[(others[GROUP] == list(key)).all(axis=1)].set_index("plane_set")[regions].to_dict(orient="index")
        for key in shown[GROUP].itertuples(index=False, name=None)
    ]
    return shown.assign(point=list(rows), other_planes=by_set)


def _named(distillation: pd.DataFrame, groups: pd.DataFrame) -> pd.DataFrame:
    """The table `distillation` with the names of its three kinds of groups."""
    named = {role: names_by_group(groups, distillation, f"{role}_") for role in ("student", "teacher", "control")}
    return distillation.assign(**named)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return _plain(table.to_dict(orient="records"))


def _plain(rows: Sequence[Mapping[Any, Any]]) -> list[dict[str, Any]]:
    """Values that JSON can hold: None for what is not known."""
    return [
        {str(key): None if isinstance(value, float) and pd.isna(value) else value for key, value in row.items()}
        for row in rows
    ]
