"""The findings as text for a terminal of 110 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from dbviz_ray.formatting import COLUMNS, aligned
from dbviz_ray.store.outcomes import Outcome

from ..scores.groups import records
from ..tables.outcomes import lost_models
from .short_tables import (
    AXES,
    MAX_ROWS,
    curve_head,
    curve_rows,
    curve_title,
    curves_over,
    group_rows,
    learning_rate_rows,
    other_plane_rows,
    recipe_rows,
    recipes_title,
)

RECIPES_ABREAST = 3


def summary_text(found: Mapping[str, Any]) -> str:
    """The short tables and the sentences."""
    blocks = [*_curves(found), *_other_planes(found), *_groups(found), *_by_recipe(found), *_learning_rates(found)]
    sentences = ["\n".join(textwrap.fill(sentence, COLUMNS) for sentence in found["sentences"])]
    return "\n\n".join(["\n".join(block) for block in blocks] + sentences * bool(found["sentences"]))


def _curves(found: Mapping[str, Any]) -> list[list[str]]:
    """A table for each axis; a curve's own line says whose it is where there are several kinds."""
    blocks = []
    for axis in AXES:
        curves = curves_over(found, axis)
        if not curves:
            continue
        rows = [row for curve in curves for row in curve_rows(curve)]
        head, *lines = aligned([curve_head(found, axis), *rows], widths=[12, 5, 5, 11, 20, 20, 18])
        block, place, shown = [head], 0, ""
        for curve in curves:
            title = curve_title(curve, curves)
            block += [title] * (title != shown) + lines[place : place + len(curve["rows"])]
            place, shown = place + len(curve["rows"]), title
        blocks.append(block)
    return blocks


def _other_planes(found: Mapping[str, Any]) -> list[list[str]]:
    rows = other_plane_rows(found)
    return [_cut(aligned(rows))] if rows else []


def _groups(found: Mapping[str, Any]) -> list[list[str]]:
    tables = group_rows(found)
    return [[f"{plane_set} planes"] * (len(tables) > 1) + _cut(aligned(rows)) for plane_set, rows in tables.items()]


def _by_recipe(found: Mapping[str, Any]) -> list[list[str]]:
    """The accuracy in brackets under each reproducibility; beside a single column."""
    if not found["by_recipe"]:
        return []
    title = recipes_title(found)
    recipes, rows = recipe_rows(found)
    if recipes == [""]:
        return [[title, *_cut(aligned([[network, cell.text, *cell.notes] for network, (cell,) in rows]))]]
    blocks = []
    for start in range(0, len(recipes), RECIPES_ABREAST):
        abreast = slice(start, start + RECIPES_ABREAST)
        lines = [["", *recipes[abreast]]]
        for network, cells in rows:
            if any(cell.text for cell in cells[abreast]):
                lines += [[network, *(cell.text for cell in cells[abreast])]]
                lines += [["", *(" ".join(cell.notes) for cell in cells[abreast])]]
        blocks.append(_cut(aligned(lines)))
    blocks[0].insert(0, title)
    return blocks


def _learning_rates(found: Mapping[str, Any]) -> list[list[str]]:
    rows = learning_rate_rows(found)
    return [_cut(aligned(rows))] if rows else []


def _cut(lines: list[str]) -> list[str]:
    more = len(lines) - 1 - MAX_ROWS
    return lines if more <= 0 else [*lines[: 1 + MAX_ROWS], f"... {more} more lines: see scores/"]


MAX_NAMED, MAX_LINES = 5, 3
"""Models that are named, and lines about each."""


def outcomes_text(outcomes: pd.DataFrame) -> str:
    """How many models ended how, from the table `outcomes`; then the first that failed, with stage and reason."""
    counts = outcomes["outcome"].value_counts()
    how_many = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome if outcome in counts)
    failed = records(outcomes[lost_models(outcomes)["n_failed"]])
    lines = [f"{len(outcomes)} models: {how_many}", *map(_named, failed[:MAX_NAMED])]
    more = len(failed) - MAX_NAMED
    return "\n".join([*lines, f"  and {more} more: see scores/outcomes.csv"] if more > 0 else lines)


def _named(row: dict[str, Any]) -> str:
    return textwrap.fill(
        f"{row['model_id']}: {row['stage']}, {row['outcome']}: {row['reason']}",
        COLUMNS,
        initial_indent="  ",
        subsequent_indent="    ",
        max_lines=MAX_LINES,
        placeholder=" ...",
        break_on_hyphens=False,
    )
