"""The command that compares predictions: from its options to numbers, tables and one HTML report."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from dbviz_ray.store import Store
from dbviz_ray.store.files import encoded
from dbviz_ray.terminal import interruption

from ..report.folders import check_free, csv_of, json_of, made, written
from ..report.page import render
from .comparison import PredictionScores, compared
from .matching import Columns, read_predictions
from .rendering import (
    advice,
    answer,
    contested,
    contested_rows,
    items_table,
    pairs_frame,
    parts_frame,
    percent,
    tables,
    text_report,
    what_each_says,
)
from .thumbnails import thumbnails

if TYPE_CHECKING:
    from dbviz_ray.predictions import Comparing, Files

RESULT, TEXT, PAIRS, GROUPS, ITEMS, REPORT = (
    "comparison.json", "comparison.txt", "pairs.csv", "groups.csv", "items.parquet", "report.html",
)  # fmt: skip
KIND = "comparison of predictions"
MOST_ROWS = 1000
"""Rows of a table in the report."""
MOST_PICTURES, IN_FRONT = 300, 12
"""Items whose pictures the report shows, and those of them on its first screen."""


def columns_of(request: Files) -> Columns:
    """What a request reads of each file."""
    return Columns(request.id, request.label, request.prediction, request.groups, request.where, request.common)


def compare(request: Comparing, command: str) -> None:
    """Compare the predictions, print the result, and write the files. UserError about a field or a file."""
    store = Store(request.out)
    check_free(store, (RESULT, TEXT, PAIRS, GROUPS, ITEMS, REPORT), RESULT, KIND)
    predictions = read_predictions(request.files, request.names, columns_of(request))
    scores = compared(predictions)
    interruption.check()
    items = items_table(scores)
    differing = contested(items)
    shown, rows = contested_rows(differing, scores)
    with_picture = differing["id"].slice(0, MOST_PICTURES).to_pylist() if request.images else []
    pictures = thumbnails(request.images or "", with_picture)
    first = list(zip(pictures, what_each_says(differing, scores, IN_FRONT), strict=False))
    pairs, groups, provenance = pairs_frame(scores), parts_frame(scores), made()
    sources = [(of["name"], f"{of['file']}, sha256 {of['sha256']}") for of in predictions.sources]
    result = {
        "kind": KIND,
        "command": command,
        "arguments": asdict(request),
        "sources": predictions.sources,
        "remarks": predictions.remarks,
        "provenance": provenance,
        "agreement": scores.agreement,
        "contested": scores.contested,
        "items_for_precision": scores.items_for(request.precision),
        "pairs": pairs.to_dict("records"),
        "groups": groups.to_dict("records"),
    }
    text = text_report(scores, request.precision)
    page = render(
        "predictions.html",
        title=" and ".join(predictions.names) if len(predictions.names) == 2 else f"{len(predictions.names)} models",
        scores=scores,
        answer=answer(scores),
        numbers=_numbers(scores),
        advice=advice(scores, request.precision),
        items=rows,
        shown=shown,
        pictures=pictures,
        first=first,
        tables=tables(scores, MOST_ROWS),
        command=command,
        origin=[*sources, *provenance.items()],
    )
    files = {
        RESULT: json_of(result),
        TEXT: f"{text}\n".encode(),
        PAIRS: csv_of(pairs),
        GROUPS: csv_of(groups),
        ITEMS: encoded(items, {}),
        REPORT: page.encode(),
    }
    names = written(store, files)
    print(text)
    print(f"\nin {request.out}: {', '.join(names)}", flush=True)


def _numbers(scores: PredictionScores) -> list[tuple[str, str, list[str]]]:
    """The few large numbers of the report's first screen: what each is, its value, and lines about it."""
    first = scores.pairs[0]
    found: list[tuple[str, str, list[str]]] = []

    def add(called: str, share: Any, about: str) -> None:
        value = percent(share)
        found.append((called, value.text, [*value.notes, about]))

    add("same prediction", scores.agreement, "mean over pairs" if len(scores.pairs) > 1 else "by both models")
    if len(scores.pairs) == 1 and first.losses and first.wins:
        add("right to wrong", first.losses, "negative flips")
        add("wrong to right", first.wins, "wins")
    return found
