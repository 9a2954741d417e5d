"""The stages of a sweep, one module each: find what a run directory lacks, and make it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dbviz_ray.config import Cohort
    from dbviz_ray.evaluation.work import Task

STAGES = ("train", "evaluate", "analyse", "report")
"""In order."""


@dataclass(frozen=True)
class Options:
    """Options of the command line besides the sweep."""

    stages: tuple[str, ...]
    chosen: bool
    """Whether the user named the stages; analyse and report then run again even if complete."""
    address: str | None
    verbose: bool
    precision: float | None = None
    """Half-width of the 95 % intervals that the advice aims for."""


@dataclass
class State:
    """What a run directory lacks. Stages fill it in (`find_missing`) and update it."""

    untrained: set[str] = field(default_factory=set)
    """model_ids of untrained models."""
    cohorts: list[Cohort] = field(default_factory=list)
    """The cohorts that train them."""
    tasks: list[Task] = field(default_factory=list)
    """Tasks that evaluators have not done."""
    analysed: bool = False
    """Whether every table and the findings are stored."""
    reported: bool = False
    """Whether the figures and the report are stored and logged to MLflow."""
    trained_on: dict[str, str] = field(default_factory=dict)
    """The node on which this command trained a model, by model_id."""

    @property
    def to_analyse(self) -> bool:
        """Whether the analysis is missing, or more models will be evaluated."""
        return bool(self.cohorts or self.tasks) or not self.analysed

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.reported and not self.to_analyse

    def computes(self, stages: tuple[str, ...]) -> bool:
        """Whether any of `stages` needs a Ray cluster."""
        return bool((self.cohorts and "train" in stages) or (self.tasks and "evaluate" in stages))
