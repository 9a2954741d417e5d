"""The stages of a sweep: train, evaluate, analyse, report. Each does what its run directory lacks.

Heavy libraries are imported by the stage that needs them, so that a finished sweep says so at once.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbviz_ray import interruption
from dbviz_ray.config import Cohort, SweepConfig
from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.tasks import FindMargins, LabelPlanes, Task, What, missing_tasks

if TYPE_CHECKING:
    from dbviz_ray.work import Work

STAGES = ("train", "evaluate", "analyse", "report")
EVALUATIONS = ("labels", "probabilities", "margins")
"""Folders of what evaluators make."""
MADE_BY = {"planes": "evaluate", **dict.fromkeys(EVALUATIONS, "evaluate"), "scores": "analyse"}
"""The stage that makes what is in a folder and can make it again from what the others keep."""
FINDINGS_FILE = "scores/findings.json"


class StageFailedError(Exception):
    """A stage could not do all its work; what it did is kept."""


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


@dataclass(frozen=True)
class Missing:
    """What a run directory lacks of its sweep."""

    untrained: set[str]
    """model_id of every model that is not trained."""
    cohorts: list[Cohort]
    """Those with an untrained member."""
    tasks: list[Task]
    """What evaluators have not done."""
    analyse: bool
    report: bool

    def __bool__(self) -> bool:
        return bool(self.cohorts or self.tasks or self.analyse or self.report)


def run_sweep(sweep: SweepConfig, store: Store, options: Options) -> None:
    """Do what `store` lacks of `sweep`, stage by stage. Raises UserError or StageFailedError.

    A damaged file that one of these stages makes is dropped, and made again.
    """
    started = time.monotonic()
    dropped: set[str] = set()
    while True:
        try:
            done = _run(sweep, store, options)
        except DamagedFileError as error:
            _drop_damaged(sweep, store, options, error, dropped)
        else:
            break
    if done:
        print(f"{', '.join(options.stages)}: done in {time.monotonic() - started:.0f} s")


def _run(sweep: SweepConfig, store: Store, options: Options) -> bool:
    """Whether there was anything to do."""
    store.check_owner(sweep)
    missing = find_missing(sweep, store)
    redo = options.chosen and {"analyse", "report"} & set(options.stages)
    if not missing and not redo:
        findings = _findings(store, options.precision)
        print(f"{sweep.name} is complete in {store.root}; nothing to do.\n\n{findings}")
        return False
    computes = (missing.cohorts and "train" in options.stages) or (missing.tasks and "evaluate" in options.stages)
    if computes:
        _check_computable(sweep)
    store.claim(sweep)
    if computes:
        _train_and_evaluate(sweep, store, missing, options)
        interruption.check()
    if "analyse" in options.stages and (missing.analyse or options.chosen):
        _analyse(sweep, store)
    if "report" in options.stages and (missing.report or options.chosen):
        _report(sweep, store)
        print(_findings(store, options.precision))
    return True


def _drop_damaged(
    sweep: SweepConfig, store: Store, options: Options, error: DamagedFileError, dropped: set[str]
) -> None:
    """Delete a damaged file that one of the stages asked for makes. StageFailedError says how to mend any other."""
    kind = error.name.partition("/")[0]
    stage = MADE_BY.get(kind)
    if stage is None:
        raise StageFailedError(f"{error}; {store.remedy(error.name)}") from None
    if stage not in options.stages:
        upto = [name for name in STAGES[STAGES.index(stage) :] if name == stage or name in options.stages]
        raise StageFailedError(f"{error}; the same command with --stages {','.join(upto)} makes it again") from None
    if error.name in dropped:
        raise StageFailedError(f"{error}, although it has just been made again; is the disk sound?") from None
    # A disk that lost one file may have lost others: all are found before evaluators start again.
    others = {other.name for other in store.damaged_evaluations()} if kind in EVALUATIONS else set()
    names = others | {error.name}
    what = "it is" if len(names) == 1 else f"{len(names)} damaged files are"
    print(f"{stage:8} {error}; {what} made again", file=sys.stderr)
    dropped |= names
    for name in names:
        store.drop(name)


def find_missing(sweep: SweepConfig, store: Store) -> Missing:
    """Compare `sweep` with the files in `store`: a few listings, whatever the number of models."""
    trained = store.complete_models()
    untrained = {model.model_id for model in sweep.models()} - trained
    cohorts = [_still_to_train(c, untrained, store) for c in sweep.cohorts() if _ids(c) & untrained]
    tasks = missing_tasks(sweep, store)
    analyse = bool(cohorts or tasks) or not _analysed(sweep, store)
    return Missing(untrained, cohorts, tasks, analyse, report=analyse or not _reported(sweep, store))


def _ids(cohort: Cohort) -> set[str]:
    return {model.model_id for model in cohort.models}


def _still_to_train(cohort: Cohort, untrained: set[str], store: Store) -> Cohort:
    """The cohort, if its training was begun; else what is missing of it, where other runs or grids had a part."""
    if _ids(cohort) <= untrained or store.exists(store.cohort_state_file(cohort.cohort_id)):
        return cohort
    return Cohort(models=tuple(model for model in cohort.models if model.model_id in untrained))


def _check_computable(sweep: SweepConfig) -> None:
    """UserError, before the command leaves a trace, if data, planes or networks cannot be had as asked for."""
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.margins import check_enough
    from dbviz_ray.networks import facts_of, facts_of_dataset
    from dbviz_ray.planes.of_sweep import check_plane_sets_possible

    dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
    check_plane_sets_possible(sweep, dataset)
    if sweep.margins is not None:
        check_enough(len(dataset.split(sweep.margins.split)[1]), sweep.margins)
    data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
    for cohort in sweep.cohorts():
        facts_of(cohort.models[0], data)


def _train_and_evaluate(sweep: SweepConfig, store: Store, missing: Missing, options: Options) -> None:
    from dbviz_ray.cluster.evaluation import evaluate_models
    from dbviz_ray.cluster.session import ray_session
    from dbviz_ray.networks import facts_of, facts_of_dataset

    with ray_session(options.address, sweep.resources, options.verbose):
        if missing.cohorts and "train" in options.stages:
            _train(sweep, store, missing.cohorts)
        if "evaluate" in options.stages:
            work = work_of(sweep, store)
            missing = find_missing(sweep, store)
            if missing.untrained:
                print(f"evaluate {len(missing.untrained)} models are not trained yet and left out", file=sys.stderr)
            data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
            tasks = [task for task in missing.tasks if task.model.model_id not in missing.untrained]
            # The longest first, so that none idles at the end.
            tasks.sort(key=lambda task: -facts_of(task.model, data).forward_flops * work[task.what].points)
            failures = evaluate_models(store, tasks, work, data.classes, sweep.resources)
            if failures:
                raise StageFailedError(_failure_text("evaluate", "models", failures))


def work_of(sweep: SweepConfig, store: Store) -> dict[What, Work]:
    """What evaluators need for each kind of task."""
    from dbviz_ray.cluster.planes import stored_planes
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.work import LabellingWork, MarginsWork

    work: dict[What, Work] = {
        LabelPlanes(name): LabellingWork(name, stored_planes(sweep, store, name), planes.probabilities)
        for name, planes in sweep.planes.items()
    }
    if sweep.margins is not None:
        dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
        work[FindMargins()] = MarginsWork.drawn(sweep.margins, dataset)
    return work


def _train(sweep: SweepConfig, store: Store, cohorts: list[Cohort]) -> None:
    """Take over what other runs have trained, then train teachers, then students."""
    from dbviz_ray.cluster.training import train_cohorts
    from dbviz_ray.networks import facts_of_dataset, longest_first
    from dbviz_ray.provenance import provenance

    if _reuse(sweep, store):
        cohorts = find_missing(sweep, store).cohorts
    ordered = longest_first(cohorts, facts_of_dataset(sweep.dataset, sweep.resources.data_directory))
    students = [cohort for cohort in ordered if cohort.models[0].teacher is not None]
    for wave in ([cohort for cohort in ordered if cohort not in students], students):
        failures = train_cohorts(store, wave, sweep.resources, provenance())
        if failures:
            raise StageFailedError(_failure_text("train", "cohorts", failures))
    store.remove_folder("cohorts")


def _reuse(sweep: SweepConfig, store: Store) -> int:
    """Copy the missing models that the runs of `resources.reuse` have; returns how many."""
    from dbviz_ray.records import copy_model

    copied = 0
    for run in sweep.resources.reuse:
        other = Store(run)
        if not other.exists(SWEEP_FILE):
            raise UserError(f"resources.reuse: {run} is not a run directory: it holds no {SWEEP_FILE}")
        there = other.complete_models()
        missing = {m.model_id: m for m in sweep.models()}.keys() - store.complete_models()
        for model in sweep.models():
            if model.model_id in missing & there:
                copy_model(other, store, model)
                copied += 1
    if copied:
        print(f"train    {copied} models are taken over from {', '.join(sweep.resources.reuse)}", file=sys.stderr)
    return copied


def _analyse(sweep: SweepConfig, store: Store) -> None:
    from analysis.findings import findings
    from analysis.tables import NoModelsError, compute_tables, write_tables

    missing = find_missing(sweep, store)
    if missing.untrained or missing.tasks:
        raise StageFailedError(
            f"analyse needs every model: {len(missing.untrained)} are not trained and {len(missing.tasks)} tasks of "
            "evaluate not done yet; run the stages train,evaluate first"
        )
    print("analyse  scoring label maps", file=sys.stderr)
    try:
        tables = compute_tables(store, sweep)
    except NoModelsError as error:
        raise StageFailedError(f"analyse: {error}") from None
    write_tables(store, tables)
    store.write_json(FINDINGS_FILE, findings(tables))


def _report(sweep: SweepConfig, store: Store) -> None:
    from analysis.figures import draw_figures
    from analysis.tracking import TrackingUnavailableError, track

    if not store.exists(FINDINGS_FILE):
        raise StageFailedError("report needs the scores: run the stage analyse first")
    print("report   drawing figures and logging to MLflow", file=sys.stderr)
    figures = draw_figures(store, sweep)
    try:
        track(store, sweep, figures)
    except TrackingUnavailableError as error:
        print(
            f"report   MLflow cannot be reached ({error}). Nothing is lost: the results are in {store.root}; "
            "the same command logs them later.",
            file=sys.stderr,
        )


def _reported(sweep: SweepConfig, store: Store) -> bool:
    from analysis.figures import figures_of  # imports matplotlib, not MLflow
    from analysis.tracking import is_tracked

    return is_tracked(store) and all(store.exists(store.figure_file(name)) for name in figures_of(sweep))


def _analysed(sweep: SweepConfig, store: Store) -> bool:
    from analysis.tables import tables_of

    files = [store.scores_file(table, suffix) for table in tables_of(sweep) for suffix in ("csv", "parquet")]
    return all(store.exists(file) for file in [*files, FINDINGS_FILE])


def _findings(store: Store, precision: float | None) -> str:
    """What a sweep found, where it is, and what more would make it as precise as asked for."""
    from analysis.findings.advice import advice_text
    from analysis.findings.summary import summary_text
    from analysis.tables import read_table
    from analysis.tracking import tracking_uri

    uri = tracking_uri(store)
    command = f"{sys.executable} -m mlflow ui --host 127.0.0.1 --backend-store-uri {uri}"
    viewer = uri if uri.startswith("http") else command
    return (
        f"{summary_text(store.read_json(FINDINGS_FILE))}\n"
        f"\nFigures  {store.path('figures')}\nTables   {store.path('scores')}"
        f"\nMLflow   {viewer}\n"
        + (f"\n{advice_text(read_table(store, 'uncertainty'), precision)}\n" if precision is not None else "")
    )


def _failure_text(stage: str, unit: str, failures: dict[str, str]) -> str:
    name, reason = next(iter(failures.items()))
    return (
        f"{stage}: {len(failures)} {unit} failed, the first was {name}: {reason}. What is done is kept; "
        "the same command tries the rest again"
    )
