"""Findings as rows of numbers, and their file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

NAN = float("nan")


class Kind(StrEnum):
    """What a finding is about."""

    OVER_WIDTH = "over width"
    OVER_EPOCHS = "over epochs"
    EPOCH_CURVES = "curves over epochs"
    AGREEMENT = "agreement"
    BETWEEN_KINDS = "agreement between kinds"
    PLANE_SETS = "plane sets"
    BEST_RATE = "best learning rate"
    RATES_AT_END = "best learning rates at an end"
    RATES_BY_TEST_ERROR = "learning rates chosen by test error"
    DISTILLATION = "distillation"
    SHARPNESS = "sharpness"
    MARGINS = "margins"
    STREAMS = "random streams"
    RESOLUTION = "resolution"
    LEFT_OUT = "trainings left out"
    CONSTANT = "trainings that predict one class"


@dataclass(frozen=True)
class Subject:
    """One group, or several with common properties."""

    name: tuple[str, ...] = ()
    """Tells the group from the sweep's others; see `scores.groups.name_parts`."""
    keys: Mapping[str, Any] = field(default_factory=dict)
    """Columns and values that select its rows in the tables, such as width, label_noise and plane_set."""

    def __str__(self) -> str:
        return ", ".join(self.name)

    def narrowed(self, **keys: Any) -> Subject:
        """A part of it."""
        return Subject(self.name, {**self.keys, **keys})

    def without(self, column: str) -> Subject:
        """The same for all values of a column."""
        return Subject(self.name, {key: value for key, value in self.keys.items() if key != column})


@dataclass(frozen=True)
class Number:
    """A score of a subject, with its 95 % interval."""

    role: str
    """Its part in the finding, such as "peak" or "most"."""
    subject: Subject
    score: str
    """The column of a table."""
    value: float
    low: float = NAN
    high: float = NAN
    n: int = 0
    """Trainings counted."""
    comparison: Subject | None = None
    """The other side, for a score of two groups."""


@dataclass(frozen=True)
class Finding:
    """The numbers behind one sentence."""

    kind: Kind
    subject: Subject
    """What all numbers have in common."""
    numbers: tuple[Number, ...] = ()
    p: float = NAN
    """NaN where nothing was tested."""
    condition: Mapping[str, Any] = field(default_factory=dict)
    """Other facts, such as the images of the test error."""

    def number(self, role: str, score: str) -> Number:
        """The only number of that role and score."""
        (found,) = self.of(score, role)
        return found

    def of(self, score: str, role: str | None = None) -> list[Number]:
        """The numbers of a score, in their order, or only those of one role."""
        return [number for number in self.numbers if number.score == score and role in (None, number.role)]


def to_json(finding: Finding) -> dict[str, Any]:
    """The finding as JSON values; None stands for NaN."""
    content = asdict(finding)
    for row in (content, *content["numbers"]):
        row |= {key: None for key, value in row.items() if isinstance(value, float) and math.isnan(value)}
    return content


def from_json(content: Mapping[str, Any]) -> Finding:
    """What `to_json` wrote. KeyError, TypeError or ValueError if it did not."""
    numbers = tuple(
        Number(
            row["role"],
            _subject(row["subject"]),
            row["score"],
            _float(row["value"]),
            _float(row["low"]),
            _float(row["high"]),
            row["n"],
            _subject(row["comparison"]) if row["comparison"] else None,
        )
        for row in content["numbers"]
    )
    subject, p = _subject(content["subject"]), _float(content["p"])
    return Finding(Kind(content["kind"]), subject, numbers, p, content["condition"])


def _float(value: float | None) -> float:
    return NAN if value is None else value


def _subject(content: Mapping[str, Any]) -> Subject:
    return Subject(tuple(content["name"]), content["keys"])
