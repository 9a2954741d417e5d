"""What people see of a comparison of predictions: sentences, tables, frames and the report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from dbviz_ray.formatting import Cell, interval_cell, p_phrase, p_text, paragraph, with_names_above

from ..report.page import render
from ..scores.votes import flips, image_scores
from ..statistics.intervals import Interval
from .comparison import Part, PredictionScores

Rows = list[list[str | Cell]]

MOST_ROWS, MOST_ITEMS, MOST_COLUMNS = 30, 2000, 8
"""Rows of a printed table, items in the report, and models in its table of items; the files hold all."""


def cell(interval: Interval | None, digits: int = 3, *, signed: bool = False) -> Cell:
    """An interval as a cell of a table; "-" for none."""
    if interval is None:
        return Cell("-")
    return interval_cell(interval.value, interval.low, interval.high, digits, signed=signed)


def percent(share: Interval | None, digits: int = 2, unit: str = "%", *, signed: bool = False) -> Cell:
    """A share in percent, such as "2.49%" with "[2.19, 2.81]"; "-" for none."""
    if share is None:
        return Cell("-")
    return interval_cell(100 * share.value, 100 * share.low, 100 * share.high, digits, unit=unit, signed=signed)


def phrase(template: str, digits: int, **values: Any) -> str:
    """A template of sentences about intervals, as one paragraph; `digits` are those of shares in percent."""
    told = render(
        template,
        **values,
        percent=lambda share: percent(share, digits),
        points=lambda change: percent(change, digits, " points", signed=True),
        number=cell,
        p=p_phrase,
    )
    return " ".join(told.split())


def answer(scores: PredictionScores) -> str:
    """What was found, in one paragraph."""
    return phrase("predictions_answer.txt", 2, scores=scores)


def advice(scores: PredictionScores, precision: float) -> str:
    """How many items a wanted precision needs, and what to do next."""
    items, needed = scores.agreement.items, scores.items_for(precision)
    known = f"needs {needed:,} items" if needed else "needs more items than can be told"
    first = f"The share of changed predictions is known to ±{100 * precision:g} points."
    if needed != items:
        first = f"To know the share of changed predictions to ±{100 * precision:g} points {known}."
    if len(scores.predictions.names) > 2:
        return first
    return (
        f"{first} Two models cannot tell whether another training would change as much. Train the model some more "
        "times (dbviz-ray repeat), and give these predictions to dbviz-ray gate --reruns."
    )


def tables(scores: PredictionScores, most: int = MOST_ROWS) -> dict[str, Rows]:
    """Pairs, models, and groups of items, by their titles: a head, and at most so many rows."""
    names, p = scores.predictions.names, "p (Holm)" if len(scores.pairs) > 1 else "p"
    found: dict[str, Rows] = {"pairs": [["old, new", "churn", "wins", "losses", p, "kappa", "CAPA"]]}
    for (old, new), pair, kappa in zip(scores.names, scores.pairs, scores.kappas, strict=True):
        shares = map(percent, (pair.churn, pair.wins, pair.losses))
        found["pairs"].append([f"{old}, {new}", *shares, p_text(pair.p_holm), cell(kappa), cell(pair.capa)])
    if scores.errors[0] is not None:
        each = zip(names, scores.errors, strict=True)
        found["models"] = [["", "error"]]
        found["models"] += [[name, percent(error)] for name, error in each]
    for part in sorted(scores.parts, key=_worst_first):
        head: list[str | Cell] = [part.column, "items", "churn", "wins", "losses"]
        rows = found.setdefault(f"from {names[0]} to {names[-1]}, by {part.column}", [head])
        rows.append([part.name, f"{part.items:,}", *map(percent, (part.churn, part.wins, part.losses))])
    for title, rows in found.items():
        if len(rows) > most + 1:
            found[title] = [*rows[: most + 1], [f"and {len(rows) - most - 1:,} more", *[""] * (len(rows[0]) - 1)]]
    return found


def _worst_first(part: Part) -> tuple[str, float]:
    return part.column, -(part.losses or part.churn).value


def text_report(scores: PredictionScores, precision: float) -> str:
    """The answer, the tables, advice and remarks, as lines for a terminal."""
    shown = ["\n".join([title, *with_names_above(rows)]) for title, rows in tables(scores).items()]
    told = map(paragraph, (advice(scores, precision), *scores.predictions.remarks))
    return "\n\n".join([paragraph(answer(scores)), *shown, *told])


def pairs_frame(scores: PredictionScores) -> pd.DataFrame:
    """A row for each pair, the old model before the new one."""
    rows = [
        {"old": old, "new": new, **_numbers({**vars_of(pair), "kappa": kappa})}
        for (old, new), pair, kappa in zip(scores.names, scores.pairs, scores.kappas, strict=True)
    ]
    return pd.DataFrame(rows).assign(n_items=scores.agreement.items)


def parts_frame(scores: PredictionScores) -> pd.DataFrame:
    """A row for each group of items."""
    return pd.DataFrame([_numbers(vars_of(part)) for part in scores.parts])


def vars_of(row: Any) -> dict[str, Any]:
    """The fields of a dataclass."""
    return {one.name: getattr(row, one.name) for one in fields(row)}


def _numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values, three columns for an interval."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        ends = {f"{name}_low": value.low, f"{name}_high": value.high} if isinstance(value, Interval) else {}
        found |= {name: value.value if ends else value, **ends}
    return found


def items_table(scores: PredictionScores) -> pa.Table:
    """A row for each item: its label and groups, every model's class, and how the models vote on it."""
    of = scores.predictions
    classes = pa.array(of.class_names)

    def named(codes: Any, names: pa.Array = classes) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names)

    votes = image_scores(of.predicted, len(of.class_names), of.truth)
    votes["most_common"] = named(votes["most_common"])
    label = {} if of.truth is None else {"label": named(of.truth)}
    groups = {name: named(codes, pa.array(list(names))) for name, (codes, names) in of.groups.items()}
    each = {f"prediction {name}": named(codes) for name, codes in zip(of.names, of.predicted, strict=True)}
    flip = flips(of.predicted[0], of.predicted[-1], of.truth)
    return pa.table({"id": of.ids, **label, **groups, **each, "flip": flip, **votes})


def contested(items: pa.Table) -> pa.Table:
    """The items on which models differ, the most contested first."""
    differing = items.filter(pa.compute.greater(items["conflict_ratio"], 0))
    return differing.sort_by([("conflict_ratio", "descending"), ("flip", "ascending")])


def contested_rows(differing: pa.Table, scores: PredictionScores) -> tuple[str, Rows]:
    """The first of the items on which models differ, as a sentence and rows."""
    ranked = differing.slice(0, MOST_ITEMS)
    names = scores.predictions.names[:MOST_COLUMNS]
    there = differing.column_names
    columns = ["id", *(["label"] if "label" in there else []), *(f"prediction {name}" for name in names)]
    columns += ["conflict_ratio" if len(scores.predictions.names) > 2 else "flip", *scores.predictions.groups]
    head: list[str | Cell] = [name.removeprefix("prediction ").replace("_", " ") for name in columns]
    values: Sequence[Sequence[Any]] = [ranked[name].to_pylist() for name in columns]
    rows: Rows = [
        [f"{of:.2f}" if isinstance(of, float) else str(of) for of in row] for row in zip(*values, strict=True)
    ]
    first = f"the first {len(ranked):,} of " * (len(ranked) < len(differing))
    return f"These are {first}{len(differing):,} items; items.parquet has all.", [head, *rows]


def what_each_says(differing: pa.Table, scores: PredictionScores, most: int) -> list[str]:
    """Of the first items on which models differ: their label, and what the models say, such as "is 8; 3 (4), 8 (1)"."""
    names = [f"prediction {name}" for name in scores.predictions.names]
    told = []
    for row in differing.slice(0, most).to_pylist():
        votes = Counter(row[name] for name in names)
        said = f"{row[names[0]]}, then {row[names[1]]}"
        if len(names) > 2:
            said = ", ".join(f"{called} ({count})" for called, count in votes.most_common())
        told.append(f"is {row['label']}; {said}" if "label" in row else said)
    return told
