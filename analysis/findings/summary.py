"""The findings as text for a terminal of 110 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from analysis.recipes import ONE_COLUMN
from analysis.text_tables import COLUMNS, aligned

RECIPES_ABREAST = 3
MAX_PLANE_SETS = 4
MAX_ROWS = 40
"""Rows of one table; the rest is in scores/."""


def summary_text(found: Mapping[str, Any]) -> str:
    """The short tables and the sentences."""
    blocks = [*_curves(found), *_other_planes(found), *_groups(found), *_by_recipe(found), *_learning_rates(found)]
    sentences = ["\n".join(textwrap.fill(sentence, COLUMNS) for sentence in found["sentences"])]
    return "\n\n".join(["\n".join(block) for block in blocks] + sentences * bool(found["sentences"]))


def _curves(found: Mapping[str, Any]) -> list[list[str]]:
    """A table for each axis; a curve's own line says whose it is where there are several kinds."""
    blocks = []
    for axis in ("width", "epoch"):
        curves = [curve for curve in found["curves"] if curve["axis"] == axis]
        if not curves:
            continue
        titles = [_title(curve, curves) for curve in curves]
        rows = [
            [row["point"], f"{row[axis]}", f"{row['label_noise']:g}", f"{row['train_error']:.3f}", *_scores(row)]
            for curve in curves
            for row in curve["rows"]
        ]
        head = ["", axis, "noise", "train error", *_score_names(found)]
        lines = aligned([head, *rows], widths=[12, 5, 5, 11, 20, 20, 18])
        block = lines[:1]
        place = 1
        for index, (curve, title) in enumerate(zip(curves, titles, strict=True)):
            if title and (index == 0 or title != titles[index - 1]):
                block.append(title)
            block += lines[place : place + len(curve["rows"])]
            place += len(curve["rows"])
        blocks.append(block)
    return blocks


def _other_planes(found: Mapping[str, Any]) -> list[list[str]]:
    """The regions of the curves' points on the planes of the other sets."""
    curves = [curve for curve in found["curves"] if any(row["other_planes"] for row in curve["rows"])]
    if not curves:
        return []
    plane_sets = list(curves[0]["rows"][0]["other_planes"])[:MAX_PLANE_SETS]
    rows = [
        [
            f"{row['point']}, {curve['axis']} {row[curve['axis']]}, noise {row['label_noise']:g}",
            *(_with_interval(row["other_planes"][plane_set], "fragmentation", 2) for plane_set in plane_sets),
        ]
        for curve in curves
        for row in curve["rows"]
    ]
    head = ["regions on other planes", *plane_sets]
    return [_cut(aligned([head, *rows]))]


def _title(curve: Mapping[str, Any], curves: Sequence[Mapping[str, Any]]) -> str:
    """What tells a curve's rows from those of the others, but for the label noise, which is a column."""
    parts = []
    if len({other["name"] for other in curves}) > 1:
        parts.append(curve["name"])
    if len({other["rows"][0]["plane_set"] for other in curves}) > 1:
        parts.append(f"{curve['rows'][0]['plane_set']} planes")
    return ", ".join(parts)


def _groups(found: Mapping[str, Any]) -> list[list[str]]:
    """A table for each plane set."""
    blocks = []
    head = ["", "noise", "models", *_score_names(found)]
    plane_sets = list(dict.fromkeys(row["plane_set"] for row in found["groups"]))
    for plane_set in plane_sets:
        of_set = [row for row in found["groups"] if row["plane_set"] == plane_set]
        rows = [[row["name"], f"{row['label_noise']:g}", str(row["n_models"]), *_scores(row)] for row in of_set]
        blocks.append([f"{plane_set} planes"] * (len(plane_sets) > 1) + _cut(aligned([head, *rows])))
    return blocks


def _by_recipe(found: Mapping[str, Any]) -> list[list[str]]:
    """Table 1 for the first plane set: the accuracy in brackets under each reproducibility; beside a single column."""
    if not found["by_recipe"]:
        return []
    plane_set = found["by_recipe"][0]["plane_set"]
    table = [row for row in found["by_recipe"] if row["plane_set"] == plane_set]
    recipes = [column for column in table[0] if column not in ("plane_set", "label_noise", "network")]
    accuracy = "accuracy" if found["tested_on"] == "test" else "held-out accuracy"
    title = f"reproducibility on {plane_set} planes and ({accuracy}), in percent"
    others = "; other planes: scores/by_recipe.csv" * (len(table) < len(found["by_recipe"]))
    if recipes == [ONE_COLUMN]:
        rows = [[_network(row, table), *_halves(row[ONE_COLUMN])] for row in table]
        return [[title + others, *_cut(aligned(rows))]]
    blocks = []
    for start in range(0, len(recipes), RECIPES_ABREAST):
        shown = recipes[start : start + RECIPES_ABREAST]
        rows = [["", *shown]]
        for row in table:
            if any(row[recipe] for recipe in shown):
                same, right = zip(*(_halves(row[recipe]) for recipe in shown), strict=True)
                rows += [[_network(row, table), *same], ["", *right]]
        blocks.append(_cut(aligned(rows)))
    blocks[0].insert(0, title + others)
    return blocks


def _halves(cell: str) -> tuple[str, str]:
    """Reproducibility, and accuracy in brackets."""
    same, opening, right = cell.partition("(")
    return same.strip(), opening + right


def _network(row: Mapping[str, Any], table: Sequence[Mapping[str, Any]]) -> str:
    several = len({other["label_noise"] for other in table}) > 1
    return f"{row['network']}" + f", noise {row['label_noise']:g}" * several


def _learning_rates(found: Mapping[str, Any]) -> list[list[str]]:
    rows = [
        [
            row["name"],
            f"{row['label_noise']:g}",
            f"{row['learning_rate']:g}",
            _with_interval(row, "test_error", 3),
            _with_interval(row, "reproducibility", 3),
            _range(row["overlapping"]),
        ]
        for row in found["learning_rates"]
    ]
    head = ["", "noise", "best rate", f"{found['tested_on']} error", "reproducibility", "not told apart"]
    return [_cut(aligned([head, *rows]))] if rows else []


def _range(rates: Sequence[float]) -> str:
    """The rates whose errors cannot be told from the best one's: all of them if few, else from where to where."""
    return " ".join(map("{:g}".format, rates)) if len(rates) < 3 else f"{rates[0]:g} to {rates[-1]:g}"


def _score_names(found: Mapping[str, Any]) -> list[str]:
    return [f"{found['tested_on']} error", "reproducibility", "regions"]


def _scores(row: Mapping[str, Any]) -> list[str]:
    return [
        _with_interval(row, "test_error", 3),
        _with_interval(row, "reproducibility", 3),
        _with_interval(row, "fragmentation", 2),
    ]


def _with_interval(row: Mapping[str, Any], score: str, digits: int) -> str:
    value, low, high = (row[f"{score}{end}"] for end in ("", "_low", "_high"))
    return "-" if value is None else f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - 1 - MAX_ROWS
    return lines if more <= 0 else [*lines[: 1 + MAX_ROWS], f"... {more} more lines: see scores/"]
