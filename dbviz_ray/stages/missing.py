"""What a run directory lacks of its sweep: a comparison of names, a few listings whatever the number of models."""

from __future__ import annotations

from dataclasses import dataclass

from dbviz_ray.cluster.schedule import cohorts_to_train
from dbviz_ray.config import Cohort, SweepConfig
from dbviz_ray.evaluation.tasks import Task, missing_tasks
from dbviz_ray.store import FINDINGS_FILE, REPORT_FILE, Store


@dataclass(frozen=True)
class Missing:
    """What a run directory lacks of its sweep."""

    untrained: set[str]
    """model_id of every model that is not trained."""
    cohorts: list[Cohort]
    """In which the untrained ones are to be trained."""
    tasks: list[Task]
    """What evaluators have not done."""
    analyse: bool
    report: bool

    def __bool__(self) -> bool:
        return bool(self.cohorts or self.tasks or self.analyse or self.report)


def find_missing(sweep: SweepConfig, store: Store) -> Missing:
    """Compare `sweep` with the files in `store`."""
    untrained = {model.model_id for model in sweep.models()} - store.complete_models()
    cohorts = cohorts_to_train(sweep, untrained, store.begun_cohorts()) if untrained else []
    tasks = missing_tasks(sweep, store)
    analyse = bool(cohorts or tasks) or not analysed(sweep, store)
    return Missing(untrained, cohorts, tasks, analyse, report=analyse or not _reported(sweep, store))


def analysed(sweep: SweepConfig, store: Store) -> bool:
    """Whether every table and the findings are there."""
    from dbviz_ray.analysis.tables import tables_of

    files = [store.scores_file(table, suffix) for table in tables_of(sweep) for suffix in ("csv", "parquet")]
    return all(store.exists(file) for file in [*files, FINDINGS_FILE])


def _reported(sweep: SweepConfig, store: Store) -> bool:
    from dbviz_ray.analysis.figures import figures_of
    from dbviz_ray.analysis.tracking import is_tracked

    if not (is_tracked(store) and store.exists(REPORT_FILE)):
        return False
    kinds = figures_of(sweep)  # takes seconds in sweeps of 100,000 models
    return all(store.exists(store.figure_file(name, suffix)) for name in kinds for suffix in kinds[name].suffixes)
