"""Findings of a sweep: rows of numbers, computed once from its tables, and their rendering.

`find` computes them, `write_findings` stores them, `read_findings` reads them. `sentences` renders one as a sentence,
`summary` all for a terminal; the report and MLflow's descriptions use the same rows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
from pydantic import ValidationError

from dbviz_ray.errors import DamagedFileError
from dbviz_ray.store import FINDINGS_FILE, Store

from .find import findings_in
from .rows import ROWS, Finding, Kind, Number, Subject
from .sentences import QUESTIONS, sentence

__all__ = ["Finding", "Findings", "Kind", "Number", "Subject", "find", "read_findings", "write_findings"]


@dataclass(frozen=True)
class Findings:
    """All findings of a sweep, in the order of the report."""

    rows: tuple[Finding, ...]

    def of(self, *kinds: Kind) -> list[Finding]:
        """The findings of some kinds."""
        return [finding for finding in self.rows if finding.kind in kinds]

    @property
    def answers(self) -> dict[str, list[Finding]]:
        """Each question that the sweep answers, with its findings."""
        found: dict[str, list[Finding]] = {}
        for finding in self.rows:
            if finding.kind in QUESTIONS:
                found.setdefault(QUESTIONS[finding.kind], []).append(finding)
        return found

    @property
    def sentences(self) -> list[str]:
        """The findings that answer a question, one sentence each."""
        return [sentence(finding) for answers in self.answers.values() for finding in answers]


def find(tables: Mapping[str, pd.DataFrame]) -> Findings:
    """The findings in a sweep's tables."""
    return Findings(tuple(findings_in(tables)))


def write_findings(store: Store, found: Findings) -> None:
    """Store the rows and, for people, the sentences under their questions."""
    answers = [
        {"question": question, "sentences": [sentence(finding) for finding in findings]}
        for question, findings in found.answers.items()
    ]
    store.write_json(FINDINGS_FILE, {"answers": answers, "findings": json.loads(ROWS.dump_json(found.rows))})


def read_findings(store: Store) -> Findings:
    """The stored findings. FileNotFoundError if there are none, DamagedFileError if they cannot be read."""
    content = store.read_json(FINDINGS_FILE)
    try:
        return Findings(ROWS.validate_python(content["findings"]))
    except (KeyError, ValidationError) as error:
        path = store.path(FINDINGS_FILE)
        raise DamagedFileError(FINDINGS_FILE, path, f"it holds no findings: {type(error).__name__}") from None
