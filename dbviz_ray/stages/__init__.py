"""The stages of a sweep, one module each: `find_missing` finds what a run directory lacks, and `run` makes it.

Both get all `Options`. What an option leaves out must not count as missing, or the same command would never be done.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dbviz_ray.errors import UserError
from dbviz_ray.terminal.arguments import option, precision

if TYPE_CHECKING:
    from dbviz_ray.config import Cohort
    from dbviz_ray.evaluation.work import Task

STAGES = ("train", "evaluate", "analyse", "report")
"""In order."""


def _stages(text: str) -> tuple[str, ...]:
    """The stages named in `text`, in their order."""
    named = [stage.strip() for stage in text.split(",")]
    for stage in named:
        if stage not in STAGES:
            raise UserError("", stage, allowed=", ".join(STAGES))
    return tuple(stage for stage in STAGES if stage in named)


@dataclass(frozen=True)
class Options:
    """Options of the command line that stages get; each field declares its own."""

    chosen: tuple[str, ...] | None = option(
        "--stages", "run only these of train, evaluate, analyse, report (default: all); analyse and report are "
        "repeated if you name them", type=_stages, metavar="STAGE,...",
    )  # fmt: skip
    address: str | None = option(
        "--address",
        "Ray cluster to use; 'local' starts one on this machine; 'none' does without Ray: this process trains and "
        "evaluates alone (default: $RAY_ADDRESS, else a cluster that runs on this machine, else local)",
    )
    precision: float | None = option(
        "--precision", "also tell how many more seeds or planes a 95 %% interval of this half-width needs, such as "
        "0.01 (relative for unbounded scores)", type=precision, metavar="HALF_WIDTH",
    )  # fmt: skip
    verbose: bool = option("--verbose", "also show the output of Ray and its workers", False, action="store_true")

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages to run."""
        return self.chosen or STAGES


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
    changed: list[str] = field(default_factory=list)
    """Tables, findings, figures and report that are there, but not as they were written."""
    trained_on: dict[str, str] = field(default_factory=dict)
    """The node on which this command trained a model, by model_id."""

    @property
    def to_analyse(self) -> bool:
        """Whether the analysis is missing, or more models will be evaluated."""
        return bool(self.cohorts or self.tasks) or not self.analysed

    def computes(self, options: Options) -> bool:
        """Whether any of the stages needs workers."""
        return bool((self.cohorts and "train" in options.stages) or (self.tasks and "evaluate" in options.stages))
