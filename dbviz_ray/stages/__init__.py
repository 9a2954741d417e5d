"""The stages of a sweep, one module each: `find_missing` finds what a run directory lacks, and `run` makes it.

Both get all `Options`. What an option leaves out must not count as missing, or the same command would never be done.
"""

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

    stages: tuple[str, ...] = STAGES
    chosen: bool = False
    """Whether the user named the stages; analyse and report then run again even if complete."""
    address: str | None = None
    verbose: bool = False
    precision: float | None = None
    """Half-width of the 95 % intervals that the advice aims for."""


@dataclass
class State:
    """What a run directory lacks. Stages fill it in (`find_missing`) and update it (`run`)."""

    untrained: set[str] = field(default_factory=set)
    """model_ids of untrained models."""
    cohorts: list[Cohort] = field(default_factory=list)
    """The cohorts that train them."""
    tasks: list[Task] = field(default_factory=list)
    """Tasks that evaluators have not done."""
    analysed: bool = False
    """Whether every table and the findings are stored."""
    drawn: bool = False
    """Whether the figures and the report show these tables."""
    reported: bool = False
    """Whether they are drawn, and logged to MLflow."""
    trained_on: dict[str, str] = field(default_factory=dict)
    """The node on which this command trained a model, by model_id."""

    @property
    def to_analyse(self) -> bool:
        """Whether the analysis is missing, or more models will be evaluated."""
        return bool(self.cohorts or self.tasks) or not self.analysed

    def computes(self, options: Options) -> bool:
        """Whether any of the stages needs a Ray cluster."""
        return bool((self.cohorts and "train" in options.stages) or (self.tasks and "evaluate" in options.stages))
