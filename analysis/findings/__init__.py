"""What a sweep found, as rows and one sentence each; which findings there are depends on what the sweep varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..scores.groups import GROUP, at_last_epoch, names_by_group, names_of
from ..tables.recipes import compares_recipes, learning_rates
from .comparisons import (
    agreement_sentences,
    choice_sentence,
    distillation_sentence,
    kinds_sentences,
    plane_set_sentences,
    rates_sentence,
    sharpness_sentences,
)
from .curves import (
    EPOCH,
    WIDTH,
    Curve,
    curves,
    has_peak,
    interpolation_threshold,
    representative_curves,
    shown_rows,
)
from .remarks import constant_sentences, margin_sentences, resolution_sentences, stream_sentences
from .sentences import left_out_sentences, sentence, tested_on

MAX_EPOCH_CURVES = 4
"""Curves over the epochs that rows and sentences tell of."""


def findings(tables: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    """Rows and sentences, as values that JSON can hold.

    - `curves`: the shown points of every curve over width, and of the telling ones over epochs, named in `point`; on
      the first plane set, with the regions on the others in `other_planes`.
    - `thresholds`: where each of all curves starts to interpolate.
    - `by_recipe`, `learning_rates`, `distillation`: a row each, where the sweep has such.
    - `groups`: every group at its last epoch, in a sweep that has none of these.
    - `topics`: questions and the sentences that answer them; `sentences`: the same sentences alone.
    """
    groups = tables["groups"]
    first = groups[groups["plane_set"] == groups["plane_set"].iloc[0]]
    over_width, over_epochs = curves(first, WIDTH, tables["differences"]), curves(first, EPOCH)
    with_peak = [curve for curve in over_epochs if has_peak(curve)]
    shown = [*over_width, *representative_curves(with_peak or over_epochs, MAX_EPOCH_CURVES)]
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
    }
    last = at_last_epoch(groups)
    plain = not (shown or compared or found["learning_rates"])
    found["groups"] = _records(last.assign(name=names_of(last))) if plain else []
    epoch_curves = shown[len(over_width) :]
    counted = [
        f"{len(with_peak)} of {len(over_epochs)} curves over the epochs show double descent beyond the intervals."
    ] * (len(over_epochs) > len(epoch_curves))
    rates, taught = found["learning_rates"], found["distillation"]
    topics = {
        "Is a wider network better, and more reproducible?": [sentence(curve) for curve in over_width],
        "Is a longer training better, and more reproducible?": [*map(sentence, epoch_curves), *counted],
        "Is it the same model if it is trained again?": [] if shown and not compared else agreement_sentences(groups),
        "Do networks of different kinds learn the same?": (
            kinds_sentences(groups, tables["between_groups"]) if compared else []
        ),
        "What changes on other planes?": [] if shown else plane_set_sentences(groups),
        "Which learning rate is best?": [*rates_sentence(rates), *choice_sentence(rates)],
        "Do students resemble their teachers?": [distillation_sentence(row) for row in taught],
        "How flat are the minima?": sharpness_sentences(groups) if compared else [],
        "How far are images from the decision boundary?": margin_sentences(over_width),
        "Which random stream makes another model?": stream_sentences(tables["streams"]) if "streams" in tables else [],
        "Is the grid fine enough to count regions?": (
            resolution_sentences(tables["resolution"], groups) if over_width else []
        ),
        "What is left out, and what means nothing?": [*left_out_sentences(groups), *constant_sentences(groups)],
    }
    found["topics"] = [{"question": asked, "sentences": told} for asked, told in topics.items() if told]
    found["sentences"] = [told for topic in found["topics"] for told in topic["sentences"]]
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
