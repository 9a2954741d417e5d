"""Counters of what a sweep has done. Nodes of a cluster offer them to Prometheus beside Ray's own (`ray.util.metrics`).

`ray_dbviz_models_total`, `ray_dbviz_tasks_total` and `ray_dbviz_points_total`; of the last, Prometheus' `rate` makes
points a second.
"""

from functools import cache

from ray.util.metrics import Counter

from dbviz_ray.config import Cohort
from dbviz_ray.evaluation.work import Task, Work
from dbviz_ray.store.models import Outcome, WorkEnd

COUNTERS = {
    "models": ("Models whose training has ended", ("outcome",)),
    "tasks": ("Tasks of evaluators that have ended", ("what", "outcome")),
    "points": ("Points that evaluators have labelled", ("what",)),
}


@cache
def _counter(name: str) -> Counter:
    about, tags = COUNTERS[name]
    return Counter(f"dbviz_{name}", about, tags)


def count_cohort(cohort: Cohort, end: WorkEnd) -> None:
    """Count the models of a cohort whose training has ended, however it did."""
    _counter("models").inc(len(cohort.models), {"outcome": end.outcome})


def count_task(task: Task, work: Work, end: WorkEnd) -> None:
    """Count a task of an evaluator that has ended; its points, if it is done."""
    what = task.what or "margins"
    _counter("tasks").inc(1, {"what": what, "outcome": end.outcome})
    if end.outcome is Outcome.DONE:
        _counter("points").inc(work.points, {"what": what})
