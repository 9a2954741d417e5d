"""The tables of a sweep in its report: short ones in full, long ones by their beginnings, all by their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from dbviz_ray.store import Store

from ..findings.short_tables import (
    AXES,
    MAX_ROWS,
    Rows,
    curve_head,
    curve_rows,
    curve_title,
    curves_over,
    group_rows,
    learning_rate_rows,
    other_plane_rows,
    recipe_rows,
    recipes_title,
    with_interval,
)
from ..scores.groups import at_last_epoch, names_of, records
from .page import folded, paragraph, table

SCORES = {
    "train_error": ("train error", 3),
    "test_error": ("test error", 3),
    "reproducibility": ("reproducibility", 3),
    "kappa": ("kappa", 3),
    "agreement_on_test_images": ("agreement on images", 3),
    "fragmentation": ("regions", 2),
    "largest_region": ("largest region", 3),
    "margin": ("margin", 3),
    "sharpness": ("sharpness", 4),
}
"""What is told of every kind of training: the column's name, and digits after the point."""

FILES = {
    "groups": "every kind of training: all scores with intervals",
    "models": "every model: its seeds, errors, regions, versions",
    "pairs": "every two trainings of a kind, and of two kinds: how far they agree",
    "between_groups": "how far trainings of two kinds agree",
    "differences": "every two kinds: whether their scores differ beyond chance",
    "resolution": "counts of regions on coarser grids and in the limit",
    "uncertainty": "what the intervals are made of, and how many more seeds or planes would narrow them",
    "outcomes": "how work on every model ended",
    "margins": "how far images are from the decision boundary",
    "streams": "what each random stream does alone",
    "by_recipe": "reproducibility and accuracy by network and recipe",
    "distillation": "how far students agree with their teachers",
}


def short_tables(found: Mapping[str, Any]) -> list[str]:
    """HTML of the tables that the terminal shows too."""
    shown = []
    for axis in AXES:
        curves = curves_over(found, axis)
        rows = [[_place(row[0], curve_title(curve, curves)), *row[1:]] for curve in curves for row in curve_rows(curve)]
        if rows:
            shown.append(_cut([curve_head(found, axis), *rows], f"Selected points over the {axis}"))
    if found["by_recipe"]:
        recipes, by_network = recipe_rows(found)
        rows = [[network, *("\n".join((cell.text, *cell.notes)) for cell in cells)] for network, cells in by_network]
        head = ["", *recipes]
        shown.append(_cut([head, *rows], _sentence(recipes_title(found))))
    if rows := learning_rate_rows(found):
        shown.append(_cut(rows, "The best learning rates"))
    shown += [_cut(rows, f"On {plane_set} planes") for plane_set, rows in group_rows(found).items()]
    if rows := other_plane_rows(found):
        shown.append(_cut([["", *rows[0][1:]], *rows[1:]], "Regions a plane on the planes of the other sets"))
    return shown


def long_tables(groups: pd.DataFrame) -> list[str]:
    """HTML of all scores of every kind of training at its last epoch, folded, plane set by plane set."""
    tested_on = str(groups["tested_on"].iloc[0])
    last = at_last_epoch(groups)
    shown = []
    for plane_set, of_set in last.groupby("plane_set", sort=False):
        known = {score: told for score, told in SCORES.items() if of_set[score].notna().any()}
        heads = [name.replace("test", tested_on) if name == "test error" else name for name, _ in known.values()]
        rows = [["", "noise", "models", *heads]]
        for name, row in zip(names_of(of_set[:MAX_ROWS]), records(of_set[:MAX_ROWS]), strict=True):
            cells = [with_interval(row, score, digits) for score, (_, digits) in known.items()]
            rows.append([name, f"{row['label_noise']:g}", str(row["n_models"]), *cells])
        more = len(of_set) - MAX_ROWS
        rest = [paragraph(f"And {more:,} more: scores/groups.csv.")] if more > 0 else []
        shown.append(folded(f"Every kind of training, on {plane_set} planes", [table(rows), *rest]))
    return shown


def table_files(store: Store, tables: Sequence[str]) -> str:
    """HTML that names the files of all tables, with links that hold beside the report."""
    rows = []
    for name in tables:
        links = ", ".join(
            f'<a href="{escape(store.scores_file(name, suffix))}">{suffix}</a>' for suffix in ("csv", "parquet")
        )
        rows.append(f'<tr><th scope="row">{escape(name)}</th><td>{escape(FILES[name])} ({links})</td></tr>\n')
    return f'<table class="facts">\n<tbody>{"".join(rows)}</tbody>\n</table>'


def _cut(rows: Rows, caption: str) -> str:
    more = len(rows) - 1 - MAX_ROWS
    return table(
        rows[: 1 + MAX_ROWS], caption + (f" (the first {MAX_ROWS} rows, {more:,} more in scores/)" if more > 0 else "")
    )


def _place(point: str, title: str) -> str:
    return f"{title}, {point}" if title else point


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
