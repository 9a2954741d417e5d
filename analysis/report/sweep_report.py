"""The report of a sweep: one HTML file with what it found, from stored tables, findings and figures."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
import yaml

from dbviz_ray.config import SweepConfig
from dbviz_ray.formatting import interval_cell, listed
from dbviz_ray.store import FINDINGS_FILE, REPORT_FILE, SWEEP_FILE, Store
from dbviz_ray.store.models import Outcome

from ..figures import DOTS, FigureEntry, figures_of
from ..findings import read_findings
from ..findings.sentences import FILTERS, GLOBALS, subject_text, told
from ..findings.summary import HEADINGS, MAX_ROWS, group_tables, read_shown_tables, short_tables
from ..scores.groups import first_planes_at_last_epoch, learned, name_parts, records
from ..tables import files_of, tables_of
from ..tables.outcomes import LEFT_OUT, lost_models
from ..tables.recipes import at_best_rate
from ..tables.scored import ABOUT_TRAININGS
from .facts import MAX_NAMED, origin, trainings, varied
from .page import PAGES, Illustration, render

PAGES.filters |= FILTERS
PAGES.globals |= GLOBALS
MAX_SENTENCES = 12
"""Most sentences under one question."""
MAX_PICTURES = 12_000_000
"""Most bytes of all pictures together; the page names those that do not fit."""
HEADLINES = {
    "reproducibility": ("Two trainings agree on this share of a plane", 100, "%"),
    "test_error": ("Share of {tested_on} images classified wrongly", 100, "%"),
    "fragmentation": ("Regions of one class in a plane", 1, ""),
}
"""The numbers at the top: words, scale and unit."""


def write_report(store: Store, sweep: SweepConfig) -> None:
    """Write the report of stored results and figures."""
    found = read_findings(store)
    tables, kinds = read_shown_tables(store), figures_of(sweep)
    groups, (compared, trivial) = tables["groups"], _compared(tables["groups"])
    title = sweep.name.replace("_", " ")
    ends = _least_and_most(compared, "reproducibility")
    facts, mixed = origin(store, sweep)
    page = render(
        "sweep.html",
        title=title[:1].upper() + title[1:],
        trainings=trainings(sweep),
        headlines=_headlines(compared),
        trivial=trivial,
        extremes=[(f"{100 * (1 - row['reproducibility']):.0f}", row["called"]) for row in ends],
        about_trainings=all(row["reproducibility_interval_covers"] in ABOUT_TRAININGS for row in ends),
        answers={
            question: [(subject_text(finding.subject), told(finding)) for finding in findings]
            for question, findings in found.answers.items()
        },
        max_sentences=MAX_SENTENCES,
        findings_file=FINDINGS_FILE,
        pictures=list(_pictures(store, kinds)),
        absent=[kind.title for name, kind in kinds.items() if not store.exists(store.figure_file(name))],
        short_tables=short_tables(found, tables),
        long_tables=group_tables(groups, HEADINGS, "Every kind of training, on {} planes"),
        files={name: files_of(store, name) for name in tables_of(sweep)},
        sweep=sweep,
        varied=varied(sweep),
        max_named=MAX_NAMED,
        known=[score for score in HEADINGS if groups[score].notna().any()],
        noisy=bool((groups["label_noise"] > 0).any()),
        **_losses(tables["outcomes"], groups),
        sweep_file=SWEEP_FILE,
        again=shlex.quote(f"{sweep.name}_again"),
        facts=facts,
        mixed=mixed,
        settings=yaml.safe_dump(sweep.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True),
    )
    store.write(REPORT_FILE, page.encode())


def _compared(groups: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The groups of the first plane set, each at its last epoch and best learning rate; names of those left out.

    A group is left out if one of its trainings predicts one class for every image, since such trainings agree
    trivially; if that would leave no group, all stay. The column `called` holds the names, without a common first part.
    """
    best = at_best_rate(groups[groups["plane_set"] == groups["plane_set"].iloc[0]])
    parts = name_parts(best)
    shared = len(parts) > 1 and len({part[0] for part in parts}) == 1 and all(len(part) > 1 for part in parts)
    noisy = best["label_noise"].nunique() > 1
    best["called"] = [
        ", ".join([*part[shared:], *[f"label noise {noise:g}"] * noisy])
        for part, noise in zip(parts, best["label_noise"], strict=True)
    ]
    kept = learned(best)
    return kept, best["called"].drop(kept.index).tolist()


def _least_and_most(groups: pd.DataFrame, score: str) -> list[dict[str, Any]]:
    """The rows with the smallest and the largest known score; one row if they are the same."""
    known = groups[groups[score].notna()]
    if known.empty:
        return []
    return records(known.loc[list(dict.fromkeys([known[score].idxmin(), known[score].idxmax()]))])


def _headlines(groups: pd.DataFrame) -> list[tuple[str, str, list[str]]]:
    """What each number is, its value or range, and the groups with their intervals."""
    headlines = []
    for score, (name, scale, unit) in HEADLINES.items():
        ends = _least_and_most(groups, score)
        columns = [[scale * row[f"{score}{end}"] for end in ("", "_low", "_high")] for row in ends]
        cells = [interval_cell(value, low, high, 1, unit=unit) for value, low, high in columns]
        if cells:
            values = " to ".join(dict.fromkeys(cell.text for cell in cells))
            several = bool(groups[score].notna().sum() > 1)
            notes = [" ".join([*[row["called"]] * several, *cell.notes]) for row, cell in zip(ends, cells, strict=True)]
            headlines.append((name.format(tested_on=groups["tested_on"].iloc[0]), values, notes))
    return headlines


def _pictures(store: Store, kinds: Mapping[str, FigureEntry]) -> Iterator[tuple[str, str, Illustration | None]]:
    """The stored figures: file, title and picture; None for a picture that does not fit into the page."""
    left = MAX_PICTURES
    for name, kind in kinds.items():
        for suffix in ("png", "gif"):
            file = store.figure_file(name, suffix)
            if suffix in kind.suffixes and store.exists(file):
                content = store.read(file)
                fits = len(content) <= left
                left -= len(content) * fits
                yield file, kind.title, Illustration(content, kind.title, kind.shows, DOTS) if fits else None


def _losses(outcomes: pd.DataFrame, groups: pd.DataFrame) -> dict[str, Any]:
    """Lost models by outcome and stage, and groups with one training or none."""
    lost = outcomes[outcomes["outcome"] != Outcome.DONE]
    last = first_planes_at_last_epoch(groups)
    some_lost = last[list(LEFT_OUT)].sum(axis=1) > 0
    return {
        "n_models": len(outcomes),
        "n_lost": len(lost),
        "losses": [
            {"outcome": outcome, "stage": stage, "n": len(rows), "reasons": list(rows["reason"].unique())}
            for (outcome, stage), rows in lost.groupby(["outcome", "stage"], sort=False)
        ],
        "lost": [(row["model_id"], f"{row['outcome']}: {row['reason']}") for row in records(lost[:MAX_ROWS])],
        "tries_again": bool(lost_models(outcomes)["n_failed"].any()),
        "empty": _named(last[last["n_models"] == 0]),
        "alone": _named(last[(last["n_models"] == 1) & some_lost]),
    }


def _named(rows: pd.DataFrame) -> str:
    return listed([f"{row['name']}, label noise {row['label_noise']:g}" for row in records(rows)], MAX_ROWS, "; ")
