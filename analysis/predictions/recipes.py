"""Trainings of several recipes: how wrong each is, and how far its trainings agree, over what was varied."""

from collections.abc import Sequence

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from dbviz_ray.formatting import score_cell, with_names_above
from dbviz_ray.store import Store

from ..figures.drawing import encoded
from ..figures.style import SERIES_COLOURS, STYLE, panels, plain, score_line
from ..report.folders import csv_of, written
from ..scores.groups import records
from ..statistics.estimates import mean_estimate
from ..statistics.intervals import Interval, interval_of
from .comparison import compared
from .matching import Predictions, read_predictions
from .scores import SHARE

TABLE, PICTURE = "recipes.csv", "recipes.png"
SCORES = {"error": "error", "agreement": "agreement of two trainings"}


def compare_recipes(files: Sequence[tuple[tuple[str, ...], str]], varied: Sequence[str], folder: str) -> None:
    """Score the trainings of each recipe, named by the values of what was `varied`, print a table, and write it.

    `files` are the predictions of each training with these values. If the first of them are numbers, the scores are
    drawn over it, too.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for values, file in files:
        groups.setdefault(values, []).append(file)
    table = pd.DataFrame(
        dict(zip(varied, values, strict=True)) | _row(of) for values, of in groups.items() if len(of) > 1
    )
    head = [[*varied, *SCORES.values(), "trainings"]]
    rows = [
        [*(row[name] for name in varied), *(score_cell(row, score) for score in SCORES), row["trainings"]]
        for row in records(table)
    ]
    print("\n".join(with_names_above([*head, *rows])))
    contents = {TABLE: csv_of(table)}
    over = pd.to_numeric(table[varied[0]], errors="coerce")
    if over.notna().all() and over.nunique() > 1:
        contents[PICTURE] = encoded(_curves(table.assign(over=over), varied), "png")
    print(f"\nin {folder}: {', '.join(written(Store(folder), contents))}", flush=True)


def _row(files: Sequence[str]) -> dict[str, float]:
    predictions = read_predictions(files, [str(place) for place in range(len(files))])
    found = {"error": _error(predictions), "agreement": compared(predictions).agreement}
    row: dict[str, float] = {"trainings": len(files), "items": len(predictions.ids)}
    for score, interval in found.items():
        ends = (interval.value, interval.low, interval.high) if interval else (float("nan"),) * 3
        row |= dict(zip((score, f"{score}_low", f"{score}_high"), ends, strict=True))
    return row


def _error(predictions: Predictions) -> Interval | None:
    """The mean error, over trainings and items."""
    if predictions.truth is None:
        return None
    return interval_of(mean_estimate((predictions.predicted != predictions.truth).astype(float)), SHARE)


def _curves(table: pd.DataFrame, varied: Sequence[str]) -> Figure:
    """Each score over the first of what was varied, a line for each combination of the others."""
    with rc_context(STYLE):
        figure, axes = panels(1, 2, 9.6, 3.4)
        ticks = sorted(table["over"].unique())
        lines = list(table.groupby(list(varied[1:]), sort=False)) if len(varied) > 1 else [((), table)]
        for one, (score, called) in zip(axes[0], SCORES.items(), strict=True):
            for place, ((names, rows), colour) in enumerate(zip(lines, SERIES_COLOURS * len(lines), strict=False)):
                label = ", ".join(f"{name} {value}" for name, value in zip(varied[1:], names, strict=True))
                score_line(one, rows.sort_values("over"), "over", score, colour, label, at=(place, len(lines)))
            plain(one)
            one.set(xlabel=varied[0], ylabel=called, xscale="log" if (table["over"] > 0).all() else "linear")
            one.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            one.minorticks_off()
        if len(lines) > 1:
            axes[0, 0].legend(fontsize=8, frameon=False)
    return figure
