"""The report of a sweep: one HTML file with what it found, from stored tables and figures."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import yaml

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import FINDINGS_FILE, REPORT_FILE, SWEEP_FILE, Store

from ..figures import DOTS, FigureEntry, figures_of
from ..tables import read_table, tables_of
from .findings import headline, in_short, losses
from .glossary import LIMITS, terms
from .origins import (
    machines,
    mixed_versions,
    model_facts,
    report_versions,
    training_time,
    versions,
)
from .page import Illustration, Section, code, facts, finding, folded, heading, numbers, page, paragraph, picture_figure
from .question import asked, varied
from .sweep_tables import SCORES, long_tables, short_tables, table_files

MAX_SENTENCES = 12
"""That answer one question."""
MAX_PICTURES = 12_000_000
"""Bytes of all pictures together; those that do not fit are named, and lie in the folder figures."""


def write_report(store: Store, sweep: SweepConfig) -> None:
    """Write the report of stored results and figures."""
    store.write(REPORT_FILE, sweep_report(store, sweep).encode())


def sweep_report(store: Store, sweep: SweepConfig) -> str:
    """The page."""
    found = store.read_json(FINDINGS_FILE)
    groups, outcomes = read_table(store, "groups"), read_table(store, "outcomes")
    kinds = figures_of(sweep)
    pictures = _pictures(store, kinds)
    absent = [kind.title for name, kind in kinds.items() if not store.exists(store.figure_file(name))]
    title = sweep.name.replace("_", " ")
    front = [
        paragraph("Report of a sweep", "kicker"),
        f"<h1>{escape(title[:1].upper() + title[1:])}</h1>",
        *([paragraph(sweep.description, "lead")] if sweep.description else []),
        paragraph(asked(sweep)),
    ]
    sections = [
        Section("What was found", [*_in_short(groups), *_findings(found)]),
        Section("Figures", pictures),
        Section("Tables", [*short_tables(found), *long_tables(groups), heading("All tables"), _files(store, sweep)]),
        Section("What was trained", [facts(varied(sweep))]),
        Section("What is missing", losses(outcomes, groups, absent)),
        Section("How to read this", _reading(groups)),
        Section("How it was made", _origin(store, sweep)),
    ]
    foot = "Written by dbviz-ray from the tables in scores/ and the pictures in figures/, which lie beside this file."
    return page(title, front, sections, [paragraph(foot, "about")])


def _in_short(groups: pd.DataFrame) -> list[str]:
    meaning = in_short(groups)
    return [*([paragraph(meaning, "lead")] if meaning else []), numbers(headline(groups))]


def _findings(found: Mapping[str, Any]) -> list[str]:
    """HTML of questions and answers."""
    return [line for topic in found["topics"] for line in (heading(topic["question"]), *_answers(topic["sentences"]))]


def _answers(sentences: Sequence[str]) -> list[str]:
    more = len(sentences) - MAX_SENTENCES
    rest = [paragraph(f"And {more:,} more: {FINDINGS_FILE}.")] if more > 0 else []
    return [*(finding(sentence) for sentence in sentences[:MAX_SENTENCES]), *rest]


def _pictures(store: Store, kinds: Mapping[str, FigureEntry]) -> list[str]:
    """HTML of the stored figures."""
    body: list[str] = []
    left = MAX_PICTURES
    for name, kind in kinds.items():
        for suffix in ("png", "gif"):
            file = store.figure_file(name, suffix)
            if suffix not in kind.suffixes or not store.exists(file):
                continue
            content = store.read(file)
            if len(content) > left:
                body.append(paragraph(f"{kind.title}: too large for this page; see {file}."))
                continue
            left -= len(content)
            figure = picture_figure(Illustration(content, kind.title, kind.shows, DOTS), f"figure-{name}-{suffix}")
            body += [heading(kind.title), figure] if suffix == "png" else [folded("The same, moving", [figure])]
    return body


def _files(store: Store, sweep: SweepConfig) -> str:
    return table_files(store, tables_of(sweep))


def _reading(groups: pd.DataFrame) -> list[str]:
    known = [score for score in (*SCORES, "margin") if groups[score].notna().any()]
    noisy = bool((groups["label_noise"] > 0).any())
    return [facts(terms(known, noisy)), heading("Limits"), *(paragraph(text) for text in LIMITS)]


def _origin(store: Store, sweep: SweepConfig) -> list[str]:
    """How to make it again, versions, machines, and the configuration."""
    noted, models = model_facts(store, sweep)
    warning, took = mixed_versions(noted), training_time(noted, models)
    time = [("training took", took)] if took else []
    read = [("noted with", f"{len(noted):,} of {models:,} models")] if 0 < len(noted) < models else []
    again = f"python -m dbviz_ray.sweep {SWEEP_FILE} --out {shlex.quote(f'{sweep.name}_again')}"
    redone = f"python -m dbviz_ray.sweep {SWEEP_FILE} --out . --stages analyse,report"
    settings = yaml.safe_dump(sweep.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)
    return [
        paragraph(
            "In the folder of this report, the first command makes everything again, the second one scores what "
            "is there once more and draws it."
        ),
        code(f"{again}\n{redone}"),
        *([paragraph(warning)] if warning else []),
        facts([*time, *machines(noted), *versions(noted), *report_versions(), *read]),
        folded("The whole configuration", [code(settings)]),
    ]
