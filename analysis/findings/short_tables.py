"""The short tables of a sweep as rows of words, the first one the head; for terminals and for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from dbviz_ray.formatting import Cell, score_cell

from ..scores.groups import NETWORK, names_of, records
from ..tables.outcomes import what_happened
from ..tables.recipes import several_recipes

Rows = list[list[str]]

AXES = ("width", "epoch")
MAX_PLANE_SETS = 4
MAX_ROWS = 40
"""Rows of one table that are shown; the rest is in scores/."""


def curves_over(found: Mapping[str, Any], axis: str) -> list[Mapping[str, Any]]:
    """The curves over an axis that are told of."""
    return [curve for curve in found["curves"] if curve["axis"] == axis]


def curve_head(found: Mapping[str, Any], axis: str) -> list[str]:
    """The head over `curve_rows`."""
    return ["", axis, "noise", "train error", *_score_names(found)]


def curve_rows(curve: Mapping[str, Any]) -> Rows:
    """The telling points of a curve."""
    return [
        [row["point"], f"{row[curve['axis']]}", f"{row['label_noise']:g}", f"{row['train_error']:.3f}", *_scores(row)]
        for row in curve["rows"]
    ]


def curve_title(curve: Mapping[str, Any], curves: Sequence[Mapping[str, Any]]) -> str:
    """What tells a curve's rows from those of the others, but for the label noise, which is a column."""
    parts = []
    if len({other["name"] for other in curves}) > 1:
        parts.append(curve["name"])
    if len({other["rows"][0]["plane_set"] for other in curves}) > 1:
        parts.append(f"{curve['rows'][0]['plane_set']} planes")
    return ", ".join(parts)


def other_plane_rows(found: Mapping[str, Any]) -> Rows:
    """The regions of the curves' points on the planes of the other sets; nothing if there are none."""
    curves = [curve for curve in found["curves"] if any(row["other_planes"] for row in curve["rows"])]
    if not curves:
        return []
    plane_sets = list(curves[0]["rows"][0]["other_planes"])[:MAX_PLANE_SETS]
    rows = [
        [
            f"{row['point']}, {curve['axis']} {row[curve['axis']]}, noise {row['label_noise']:g}",
            *(with_interval(row["other_planes"][plane_set], "fragmentation", 2) for plane_set in plane_sets),
        ]
        for curve in curves
        for row in curve["rows"]
    ]
    return [["regions on other planes", *plane_sets], *rows]


def group_rows(found: Mapping[str, Any]) -> dict[str, Rows]:
    """A table for each plane set, in a sweep that has no curves and compares no recipes."""
    head = ["", "noise", "models", *_score_names(found)]
    tables: dict[str, Rows] = {}
    for row in found["groups"]:
        cells = [row["name"], f"{row['label_noise']:g}", str(row["n_models"]), *_scores(row)]
        tables.setdefault(row["plane_set"], [head]).append(cells)
    return tables


def recipes_title(found: Mapping[str, Any]) -> str:
    """What the cells of `recipe_rows` are."""
    plane_set = found["by_recipe"][0]["plane_set"]
    accuracy = "accuracy" if found["tested_on"] == "test" else "held-out accuracy"
    others = any(row["plane_set"] != plane_set for row in found["by_recipe"])
    more = "; other planes: scores/by_recipe.csv" if others else ""
    return f"reproducibility on {plane_set} planes and ({accuracy}), in percent{more}"


def recipe_rows(found: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, list[Cell]]]]:
    """Table 1 for the first plane set: the recipes, and for each network a cell for each of them.

    A cell is the reproducibility, and as its note the accuracy; both are empty where the network was not trained so.
    Where no network has several recipes there is one column without a name.
    """
    table = pd.DataFrame(found["by_recipe"]).fillna(float("nan"))
    table = table[table["plane_set"] == table["plane_set"].iloc[0]]
    several = several_recipes(table)
    recipes = list(dict.fromkeys(table["recipe"])) if several else [""]
    rows: dict[str, dict[str, Cell]] = {}
    for name, row in zip(names_of(table, NETWORK), records(table), strict=True):
        noise = f", noise {row['label_noise']:g}" if table["label_noise"].nunique() > 1 else ""
        rows.setdefault(f"{name}{noise}", {})[row["recipe"] if several else ""] = _recipe_cell(row)
    return recipes, [(name, [cells.get(recipe, Cell("")) for recipe in recipes]) for name, cells in rows.items()]


def _recipe_cell(row: Mapping[str, Any]) -> Cell:
    if row["n_models"] == 0:
        return Cell(what_happened(row))
    same, right = (score_cell(row, score, 1, scale=100) for score in ("reproducibility", "accuracy"))
    return Cell(str(same), (f"({right})",))


def learning_rate_rows(found: Mapping[str, Any]) -> Rows:
    """The best learning rate of every network and recipe; nothing if none were tried."""
    head = ["", "noise", "best rate", f"{found['tested_on']} error", "reproducibility", "not told apart"]
    rows = [
        [
            row["name"],
            f"{row['label_noise']:g}",
            f"{row['learning_rate']:g}",
            with_interval(row, "test_error", 3),
            with_interval(row, "reproducibility", 3),
            _range(row["overlapping"]),
        ]
        for row in found["learning_rates"]
    ]
    return [head, *rows] if rows else []


def with_interval(row: Mapping[str, Any], score: str, digits: int) -> str:
    """`0.512 [0.479, 0.544]`; a dash for what is not known."""
    value, low, high = (row[f"{score}{end}"] for end in ("", "_low", "_high"))
    return "-" if pd.isna(value) else f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _range(rates: Sequence[float]) -> str:
    """The rates whose errors cannot be told from the best one's: all of them if few, else from where to where."""
    return " ".join(map("{:g}".format, rates)) if len(rates) < 3 else f"{rates[0]:g} to {rates[-1]:g}"


def _score_names(found: Mapping[str, Any]) -> list[str]:
    return [f"{found['tested_on']} error", "reproducibility", "regions"]


def _scores(row: Mapping[str, Any]) -> list[str]:
    return [
        with_interval(row, "test_error", 3),
        with_interval(row, "reproducibility", 3),
        with_interval(row, "fragmentation", 2),
    ]
