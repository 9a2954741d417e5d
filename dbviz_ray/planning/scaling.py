"""How long a sweep's training would take on clusters of several sizes, and what keeps it from being shorter."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dbviz_ray.config import Cohort, SweepConfig
from dbviz_ray.formatting import duration_text
from dbviz_ray.planning.cohort_plans import CohortPlan
from dbviz_ray.planning.makespan import ideal_makespan, longest_chain, makespan

GPUS = (8, 64, 256)
TELLING = 0.05
"""Times that differ by a smaller share are as good as equal."""


@dataclass(frozen=True)
class SmallerCohorts:
    """The same models in cohorts of fewer members."""

    max_cohort_size: int
    seconds: float
    """Of the training on the same GPUs."""
    total_seconds: float
    """Of all cohorts, one after another."""


@dataclass(frozen=True)
class Scaling:
    """The training on a number of GPUs."""

    gpus: int
    seconds: float
    ideal: float
    """What no schedule of these cohorts can beat."""
    busy: float
    """Share of all GPUs' time that is used."""
    bound: str | None
    """What takes all that time by itself, so that more GPUs are of no use; None if nothing does."""
    smaller: SmallerCohorts | None
    """What would end earlier, where such a bound is the reason and smaller cohorts help."""


def scalings(sweep: SweepConfig, planned: Callable[[Sequence[Cohort]], list[CohortPlan]]) -> list[Scaling]:
    """The training on 8, 64 and 256 GPUs, simulated; `planned` tells what cohorts take."""
    plans = planned(sweep.cohorts())
    jobs = [plan.job for plan in plans]
    chain, total = longest_chain(jobs), sum(job.seconds for job in jobs)
    found = []
    by_size: dict[int, list[CohortPlan]] = {}
    for gpus in GPUS:
        workers = workers_on(gpus, sweep)
        seconds = makespan(jobs, workers)
        is_bound = seconds <= chain * (1 + TELLING)
        if is_bound and not by_size:
            by_size = {size: planned(_regrouped(sweep, size)) for size in _halvings(max(p.members for p in plans))}
        found.append(
            Scaling(
                gpus=gpus,
                seconds=seconds,
                ideal=ideal_makespan(jobs, workers),
                busy=total / (workers * seconds) if seconds else 1.0,
                bound=_bound(plans, chain) if is_bound else None,
                smaller=_shortest(by_size, workers, seconds) if is_bound else None,
            )
        )
    return found


def workers_on(gpus: int, sweep: SweepConfig) -> int:
    """Cohorts trained at a time. Those that share a GPU are counted one after another: what that gains is unknown."""
    return max(1, int(gpus / max(1.0, sweep.resources.gpus_per_cohort)))


def _bound(plans: Sequence[CohortPlan], chain: float) -> str:
    longest = max(plans, key=lambda plan: plan.seconds)
    return f"the cohort {longest.name}" if longest.seconds == chain else "a cohort of teachers and then their students"


def _halvings(size: int) -> list[int]:
    """Half of `size`, a quarter, and so on to 1."""
    found = []
    while size > 1:
        size = math.ceil(size / 2)
        found.append(size)
    return found


def _regrouped(sweep: SweepConfig, size: int) -> list[Cohort]:
    resources = sweep.resources.model_copy(update={"max_cohort_size": size})
    return sweep.model_copy(update={"resources": resources}).cohorts()


def _shortest(by_size: Mapping[int, Sequence[CohortPlan]], workers: int, seconds: float) -> SmallerCohorts | None:
    """The largest cohorts that are as good as the best; None if none end earlier than after `seconds`."""
    ends = {size: makespan([plan.job for plan in plans], workers) for size, plans in by_size.items()}
    best = min(ends.values(), default=seconds)
    if best > seconds * (1 - TELLING):
        return None
    size = max(size for size, end in ends.items() if end <= best * (1 + TELLING))
    return SmallerCohorts(size, ends[size], sum(plan.seconds for plan in by_size[size]))


def scaling_text(found: Sequence[Scaling]) -> str:
    """A table with a row for each number of GPUs, and what keeps many of them idle."""
    lines = [f"{'GPUs':>15}  training    ideal  beyond it  GPUs busy"]
    for scaling in found:
        beyond = scaling.seconds / scaling.ideal - 1 if scaling.ideal else 0.0
        times = f"{duration_text(scaling.seconds):>8}  {duration_text(scaling.ideal):>7}"
        line = f"{scaling.gpus:>15}  {times}  {beyond:>9.1%}  {scaling.busy:>9.0%}"
        if scaling.smaller is not None:
            size, hours = scaling.smaller.max_cohort_size, scaling.smaller.total_seconds / 3600
            line += f"  {duration_text(scaling.smaller.seconds)} if max_cohort_size={size}, for {hours:,.1f} GPU-hours"
        lines.append(line)
    bounds = [(scaling.gpus, scaling.bound) for scaling in found if scaling.bound is not None]
    if bounds:
        gpus, bound = bounds[0]
        lines.append(f"{'':15}  from {gpus} GPUs on it is no shorter than {bound}")
    return "\n".join(lines)
