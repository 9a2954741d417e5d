"""The stage analyse: tables of scores, and findings."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbviz_ray.cluster import ALONE
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import StageFailedError
from dbviz_ray.stages import Options, State
from dbviz_ray.store import FINDINGS_FILE, REPORT_FILE, Store
from dbviz_ray.store.layout import FIGURES_RECORD, TABLES_RECORD
from dbviz_ray.terminal.progress import Step, say

if TYPE_CHECKING:
    from dbviz_ray.analysis.scores.plane_scores import Over


def find_missing(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """Check whether all tables and the findings are stored. No findings, no import."""
    if not store.exists(FINDINGS_FILE):
        return
    changed = store.changed(TABLES_RECORD)
    state.analysed = not changed and all(store.exists(file) for file in _files(store, sweep))
    state.changed += changed or []


def _files(store: Store, sweep: SweepConfig) -> list[str]:
    from dbviz_ray.analysis.tables import files_of, tables_of

    return [FINDINGS_FILE, *(file for table in tables_of(sweep) for file in files_of(store, table))]


SECONDS_A_POINT = 6e-11
"""What two models on one point of a plane cost a core (2026-11-29, AMD EPYC)."""
LONG = 600.0
"""Seconds on one core beyond which freed memory is given back, and tasks of a cluster score planes if there is one."""


@contextmanager
def _scoring(sweep: SweepConfig, options: Options) -> Iterator["Over"]:
    """How blocks of planes are scored: here, or by tasks on the cluster if this machine would take long."""
    points = sum(planes.count * planes.resolution**2 for planes in sweep.planes.values())
    takes_long = len(sweep.models()) ** 2 / 2 * points * SECONDS_A_POINT >= LONG
    if takes_long:
        from dbviz_ray.training.allocations import give_back_freed_memory

        give_back_freed_memory()
    if takes_long and options.address not in (ALONE, "local"):
        from dbviz_ray.cluster.session import ray_session, running_cluster

        if options.address is not None or running_cluster() is not None:
            with ray_session(options.address, sweep.resources, options.verbose) as session:
                yield session.over
            return
    yield map


def run(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """Compute and store the tables and the findings. StageFailedError if evaluations are missing."""
    from dbviz_ray.analysis.findings import find, write_findings
    from dbviz_ray.analysis.findings.summary import outcomes_text
    from dbviz_ray.analysis.tables import NoModelsError, compute_tables, keep_pairs, more_pairs, write_tables

    if not (options.chosen or state.to_analyse):
        return
    for name in state.changed:
        say("analyse", f"{store.path(name)} is not as it was written and is made again")
    state.changed.clear()
    failed = store.failures().keys()
    untrained = state.untrained - failed
    tasks = [task for task in state.tasks if task.model.model_id not in failed]
    if untrained or tasks:
        raise StageFailedError(
            f"analyse needs every model: {len(untrained)} are not trained and {len(tasks)} tasks of "
            "evaluate not done yet; run the stages train,evaluate first"
        )
    try:
        with Step("analyse", "scoring label maps", "label maps scored"):
            for file in (TABLES_RECORD, FINDINGS_FILE, FIGURES_RECORD, REPORT_FILE):  # until all belong to these models
                store.remove(file)
            with _scoring(sweep, options) as over:
                tables = compute_tables(store, sweep, keep_pairs(store), over)
            write_tables(store, tables)
            write_findings(store, find(tables))
            store.record(TABLES_RECORD, [*_files(store, sweep), *more_pairs(store)])
            state.analysed = True
    except NoModelsError as error:
        print(outcomes_text(error.outcomes))
        raise StageFailedError(f"analyse: {error}") from None
