"""The stages of a sweep, one module each: what a run directory lacks, and the code that makes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbviz_ray.config import Cohort
    from dbviz_ray.evaluation.tasks import Task

STAGES = ("train", "evaluate", "analyse", "report")
"""In their order."""


@dataclass(frozen=True)
class Options:
    """What the command line says besides the sweep."""

    stages: tuple[str, ...]
    chosen: bool
    """Whether the stages were named: a named analyse or report is repeated even if it is complete."""
    address: str | None
    verbose: bool
    precision: float | None = None
    """Half-width of the 95 % intervals that the advice aims at."""


@dataclass
class State:
    """What a run directory lacks of its sweep. Stages fill it in (`find_missing`) and update it."""

    untrained: set[str] = field(default_factory=set)
    """model_id of every model that is not trained."""
    cohorts: list[Cohort] = field(default_factory=list)
    """The cohorts that train them."""
    tasks: list[Task] = field(default_factory=list)
    """What evaluators have not done."""
    analysed: bool = False
    """Whether every table and the findings are stored."""
    reported: bool = False
    """Whether the figures and the report are stored and logged to MLflow."""
    trained_on: dict[str, str] = field(default_factory=dict)
    """The node on which this command trained a model, by model_id."""

    @property
    def to_analyse(self) -> bool:
        """Whether the analysis is missing, or will be of other models."""
        return bool(self.cohorts or self.tasks) or not self.analysed

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.reported and not self.to_analyse

    def computes(self, stages: tuple[str, ...]) -> bool:
        """Whether some of `stages` need a Ray cluster."""
        return bool((self.cohorts and "train" in stages) or (self.tasks and "evaluate" in stages))
