"""What the runs' descriptions say, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..figures import FigureEntry
from ..findings.curves import shown_rows
from ..findings.sentences import sentence
from ..findings.short_tables import with_interval
from ..scores.groups import records
from .links import picture, to_charts, to_file, to_run
from .parts import Part

SWEEP = "sweep"
"""What the run above all others is called here."""
SCORES = {"train_error": 3, "test_error": 3, "reproducibility": 3, "fragmentation": 2}
"""Scores in tables, and digits after the point."""
CALLED = {"train_error": "training error", "test_error": "test error", "fragmentation": "regions a plane"}
EXPERIMENT = (
    "{charts} of all curves and groups. {about}\n\n{asked}\n\n"
    "The topmost run says what was found and has the figures, the report and the tables. Below it is a run for every "
    "curve over width or epochs, whose scores are metrics with the width or epoch as their steps, or for every group "
    "of trainings where there are no curves; below these is one for every training, with its history. Sections of "
    "charts: errors, margins (distances to the decision boundary), regions (fragmentation: one-class regions a plane), "
    "reproducibility (the share of a plane's points on which two trainings agree), uncertainty (the ends of 95 % "
    "intervals)."
)


def experiment_text(about: str, asked: str) -> str:
    """What an experiment is, and how to read it."""
    return EXPERIMENT.format(charts=to_charts("**Charts**"), about=about, asked=asked)


def sweep_text(
    sentences: Sequence[str], parts: Sequence[Part], figures: Mapping[str, tuple[FigureEntry, str]], models: str
) -> str:
    """What a sweep found.

    Args:
        sentences: The findings.
        parts: Its curves and groups.
        figures: What the figures show and, as an artifact, their small pictures, by name.
        models: Where its models are, in a sentence.
    """
    first = [to_charts("**Charts**"), to_file("report", SWEEP, "report.html"), to_file("figures", SWEEP, "figures"),
             to_file("tables", SWEEP, "tables"), to_file("configuration", SWEEP, "sweep.yaml")]  # fmt: skip
    pictures = [
        f"**{to_file(kind.title, SWEEP, f'figures/{name}.png')}**: {kind.shows}\n\n{picture(kind.title, SWEEP, small)}"
        for name, (kind, small) in figures.items()
    ]
    runs = "Runs: " + "; ".join(to_run(part.name, part.name) for part in parts) + "."
    return "\n\n".join([" · ".join(first), *sentences, runs, models, *pictures])


def part_text(part: Part, title: str, models: Mapping[int | None, Sequence[tuple[str, str]]]) -> str:
    """What a curve or group shows: its telling points with intervals, and its trainings there.

    Args:
        part: The curve or group.
        title: What the sweep is called.
        models: What the runs of its models are called on pages, and here; by width if that is what the curve is over,
            else under None.
    """
    names = shown_rows(part.curve) if part.curve else {part.title: 0}
    table = [["", *([part.step] if part.step else []), *(CALLED.get(score, score) for score in SCORES)]]
    trainings = [_trainings("Trainings", models[None])] if None in models else []
    for name, row in zip(names, records(part.rows.iloc[list(names.values())]), strict=True):
        step = [str(row[part.step])] if part.step else []
        table.append([name, *step, *(_interval(row, score, digits) for score, digits in SCORES.items())])
        if row["width"] in models:
            trainings.append(_trainings(f"Trainings at width {row['width']}", models[row["width"]]))
    about = sentence(part.curve) if part.curve else _group_words(records(part.rows)[0])
    links = f"Part of {to_run(title, SWEEP)}. {to_charts('Charts')} of all."
    return "\n\n".join([about, _table(table), *trainings, links])


def model_text(name: str, row: Mapping[str, Any], outcome: Mapping[str, Any], parent: str | None, title: str) -> str:
    """What became of a training.

    Args:
        name: What it is called.
        row: Its row of the table `models`; nothing if it has none.
        outcome: Its row of the table `outcomes`.
        parent: The name of its curve or group; None if it has none.
        title: What the sweep is called.
    """
    if row:
        end = (
            f"test error {row['test_error']:.1%}, training error {row['train_error']:.1%} after {row['epoch']} epochs, "
            f"regions a plane {_interval(row, 'fragmentation', 2)}"
        )
    else:
        end = f"{outcome['outcome']} ({outcome['stage']}: {outcome['reason']}); no score is about it"
    part = f"{to_run(parent, parent)}, in " if parent else ""
    files = f"Its files: models/{outcome['model_id']} in the run directory."
    return f"One training, {name}: {end}.\n\nPart of {part}{to_run(title, SWEEP)}. {files}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = (f"| {' | &emsp;'.join(cells)} |" for cells in rows)  # MLflow puts no space between columns
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *others])


def _group_words(row: Mapping[str, Any]) -> str:
    known = pd.notna(row["reproducibility"])
    agree = f"; two of them agree on {row['reproducibility']:.1%} of the points" if known else ""
    return (
        f"{row['name']}, label noise {row['label_noise']:g}, {row['plane_set']} planes: {row['n_models']} trainings "
        f"with a {row['tested_on']} error of {row['test_error']:.1%}{agree}."
    )


def _trainings(where: str, models: Sequence[tuple[str, str]]) -> str:
    return f"{where}: {', '.join(to_run(*model) for model in models)}."


def _interval(row: Mapping[str, Any], score: str, digits: int) -> str:
    return "-" if pd.isna(row[score]) else with_interval(row, score, digits)
