"""The stages of a sweep: train, evaluate, analyse, report. Each does what its run directory lacks.

Heavy libraries are imported by the stage that needs them, so that a finished sweep says so at once.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError, StageFailedError
from dbviz_ray.stages import STAGES
from dbviz_ray.stages.missing import Missing, analysed, find_missing
from dbviz_ray.store import FINDINGS_FILE, REPORT_FILE, Store
from dbviz_ray.store.damage import BeyondRepairError, Repairs
from dbviz_ray.store.layout import FIGURES, SCORES
from dbviz_ray.store.lease import Lease
from dbviz_ray.store.outcomes import StoppedError
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Line, Step, showing


@dataclass(frozen=True)
class Options:
    """What the command line says besides the sweep."""

    stages: tuple[str, ...]
    chosen: bool
    """Whether the stages were named: a named analyse or report is done again even if it is complete."""
    address: str | None
    verbose: bool
    precision: float | None = None
    """Half the width of the 95 % intervals for which the advice is wanted."""


def run_sweep(sweep: SweepConfig, store: Store, options: Options) -> None:
    """Do what `store` lacks of `sweep`, stage by stage. Raises UserError, StageFailedError or StorageError.

    A damaged file that one of these stages makes is dropped, and made again.
    """
    started = time.monotonic()
    Line.redraws_allowed = not options.verbose
    store.check_owner(sweep)
    missing = find_missing(sweep, store)
    redo = options.chosen and {"analyse", "report"} & set(options.stages)
    damage: DamagedFileError | None = None
    if not missing and not redo:
        try:
            print(f"{sweep.name} is complete in {store.root}; nothing to do.\n\n{_findings(store, options.precision)}")
            return
        except DamagedFileError as error:
            damage = error
    if _computes(missing, options):
        with showing("sweep", "checking the configuration"):
            from dbviz_ray.stages.computing import check_computable

            check_computable(sweep)
    repairs = Repairs(store, options.stages, STAGES)
    try:
        with Lease(store) as lease, interruption.watching(lease.check):
            store.claim(sweep)
            store = store.patient()
            if damage is not None:
                repairs.drop(damage)
            while True:
                try:
                    _run(sweep, store, options, lease.token)
                    break
                except DamagedFileError as error:
                    repairs.drop(error)
            store.remove_leftovers()
    except BeyondRepairError as error:
        raise StageFailedError(str(error)) from None
    print(f"{', '.join(options.stages)}: done in {time.monotonic() - started:.0f} s")
    failures = list(store.failures().values())
    if failures:
        first = failures[0]
        raise StageFailedError(
            f"{len(failures)} models failed and are left out, the first was {first.model_id} ({first.stage}, "
            f"{first.outcome}: {first.reason}). What is done is kept; the same command tries the rest again"
        )


def _computes(missing: Missing, options: Options) -> bool:
    """Whether there is work for a Ray cluster."""
    return bool((missing.cohorts and "train" in options.stages) or (missing.tasks and "evaluate" in options.stages))


def _run(sweep: SweepConfig, store: Store, options: Options, driver: str) -> None:
    missing = find_missing(sweep, store)
    if _computes(missing, options):
        from dbviz_ray.stages.computing import train_and_evaluate

        try:
            train_and_evaluate(
                sweep,
                store,
                missing,
                driver=driver,
                stages=options.stages,
                address=options.address,
                verbose=options.verbose,
            )
        except StoppedError as error:
            raise StageFailedError(str(error)) from None
    interruption.check()
    if "analyse" in options.stages and (missing.analyse or options.chosen):
        _analyse(sweep, store)
    if "report" in options.stages and (missing.report or options.chosen):
        _report(sweep, store)
        print(_findings(store, options.precision))


def _analyse(sweep: SweepConfig, store: Store) -> None:
    from dbviz_ray.analysis.findings import find, write_findings
    from dbviz_ray.analysis.findings.summary import outcomes_text
    from dbviz_ray.analysis.tables import NoModelsError, compute_tables, write_tables

    missing, failed = find_missing(sweep, store), store.failures().keys()
    untrained = missing.untrained - failed
    tasks = [task for task in missing.tasks if task.model.model_id not in failed]
    if untrained or tasks:
        raise StageFailedError(
            f"analyse needs every model: {len(untrained)} are not trained and {len(tasks)} tasks of "
            "evaluate not done yet; run the stages train,evaluate first"
        )
    try:
        with Step("analyse", "scoring label maps", "label maps scored"):
            tables = compute_tables(store, sweep)
            store.remove(FINDINGS_FILE)  # until all tables are these models'
            write_tables(store, tables)
            write_findings(store, find(tables))
    except NoModelsError as error:
        print(outcomes_text(error.outcomes))
        raise StageFailedError(f"analyse: {error}") from None


def _report(sweep: SweepConfig, store: Store) -> None:
    from dbviz_ray.analysis.figures.drawing import draw_figures
    from dbviz_ray.analysis.report.of_sweep import write_report
    from dbviz_ray.analysis.tracking import TrackingUnavailableError, track

    if not analysed(sweep, store):
        raise StageFailedError("report needs the scores: run the stage analyse first")
    with Step("report", "drawing figures", "figures and report written") as step:
        draw_figures(store, sweep)
        write_report(store, sweep)
        step.goes_on("logging to MLflow")
        try:
            track(store, sweep)
        except TrackingUnavailableError as error:
            step.say(
                f"MLflow cannot be reached ({error}). Nothing is lost: the results are in {store.root}; "
                "the same command logs them later."
            )


def _findings(store: Store, precision: float | None) -> str:
    """What a sweep found, where it is, and what more would make it as precise as asked for."""
    from dbviz_ray.analysis.findings import read_findings
    from dbviz_ray.analysis.findings.advice import advice_text
    from dbviz_ray.analysis.findings.summary import outcomes_text, read_shown_tables, summary_text
    from dbviz_ray.analysis.tables import read_table
    from dbviz_ray.analysis.tracking import where_to_look

    tables = read_shown_tables(store)
    return (
        f"{summary_text(read_findings(store), tables)}\n"
        f"\n{outcomes_text(tables['outcomes'])}\n"
        f"\nReport   {store.path(REPORT_FILE)}\nFigures  {store.path(FIGURES)}\nTables   {store.path(SCORES)}"
        f"\nMLflow   {where_to_look(store)}\n"
        + (f"\n{advice_text(read_table(store, 'uncertainty'), precision)}\n" if precision is not None else "")
    )
