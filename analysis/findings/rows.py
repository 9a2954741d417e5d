"""Findings as rows of numbers."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, TypeAdapter

from ..tables.scored import ABOUT_TRAININGS, NAN

Value = Annotated[int | float, BeforeValidator(lambda value: NAN if value is None else value)]


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

    def without(self, column: str) -> Self:
        """The same for all values of a column."""
        return replace(self, keys={key: value for key, value in self.keys.items() if key != column})


@dataclass(frozen=True)
class Number:
    """A score of a subject, with its 95 % interval."""

    role: str
    """Its part in the finding, such as "peak" or "most"."""
    subject: Subject
    score: str
    """The column of a table."""
    value: Value
    low: Value = NAN
    high: Value = NAN
    n: int = 0
    """Trainings counted."""
    comparison: Subject | None = None
    """The other side, for a score of two groups."""
    covers: str = ""
    """What the interval is about, where the table says it: "models and planes", "planes", ..."""

    @property
    def about_trainings(self) -> bool:
        """Whether the interval allows a verdict about other trainings: all others are about planes, or one side."""
        return self.covers in ("", *ABOUT_TRAININGS)


@dataclass(frozen=True)
class Finding:
    """The numbers behind one sentence."""

    kind: Kind
    subject: Subject
    """What all numbers have in common."""
    numbers: tuple[Number, ...] = ()
    p: Value = NAN
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

    def by_score(self, role: str | None = None) -> dict[str, list[Number]]:
        """The numbers, or only those of one role, by their scores."""
        scores = dict.fromkeys(number.score for number in self.numbers if role in (None, number.role))
        return {score: self.of(score, role) for score in scores}


ROWS = TypeAdapter(tuple[Finding, ...])
"""Findings to and from JSON, where null stands for NaN."""
