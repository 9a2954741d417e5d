"""The stages of a sweep: train, evaluate, analyse, report. Each does what its run directory lacks.

Heavy libraries are imported by the stage that needs them, so that a finished sweep says so at once.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbviz_ray import interruption
from dbviz_ray.config import Cohort, ModelConfig, SweepConfig, telling_noise
from dbviz_ray.errors import UserError
from dbviz_ray.store import SWEEP_FILE, Store

if TYPE_CHECKING:
    from torch import Tensor

    from dbviz_ray.datasets import Dataset
    from dbviz_ray.planes import PlaneSet

Task = tuple[str, ModelConfig, int]
"""A plane set's name, a model, and the epoch whose weights label it."""
STAGES = ("train", "evaluate", "analyse", "report")
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


@dataclass(frozen=True)
class Missing:
    """What a run directory lacks of its sweep."""

    untrained: set[str]
    """model_id of every model that is not trained."""
    cohorts: list[Cohort]
    """Those with an untrained member."""
    tasks: list[Task]
    """Plane sets, and the models and epochs that have not labelled them."""
    analyse: bool
    report: bool

    def __bool__(self) -> bool:
        return bool(self.cohorts or self.tasks or self.analyse or self.report)


def run_sweep(sweep: SweepConfig, store: Store, options: Options) -> None:
    """Do what `store` lacks of `sweep`, stage by stage. Raises UserError or StageFailedError."""
    started = time.monotonic()
    store.check_owner(sweep)
    missing = find_missing(sweep, store)
    redo = options.chosen and {"analyse", "report"} & set(options.stages)
    if not missing and not redo:
        print(f"{sweep.name} is complete in {store.root}; nothing to do.\n")
        _print_findings(store)
        return
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
        _print_findings(store)
    print(f"{', '.join(options.stages)}: done in {time.monotonic() - started:.0f} s")


def find_missing(sweep: SweepConfig, store: Store) -> Missing:
    """Compare `sweep` with the files in `store`: a few listings, whatever the number of models."""
    trained = store.complete_models()
    labelled = {name: store.labelled(name) for name in sweep.planes}
    models = sweep.models()
    untrained = {m.model_id for m in models} - trained
    cohorts = [_still_to_train(c, untrained, store) for c in sweep.cohorts() if _ids(c) & untrained]
    wanted = [(m, epoch) for m in models for epoch in m.training.kept_epochs]
    tasks = [(name, m, e) for name in sweep.planes for m, e in wanted if (m.model_id, e) not in labelled[name]]
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
    from dbviz_ray.networks import facts_of, facts_of_dataset
    from dbviz_ray.planes import draw_triplets

    dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
    given = _given_labels(sweep, dataset)
    for name, planes in sweep.planes.items():
        with _about_planes(name):
            draw_triplets(dataset, planes, given)
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
            plane_sets = {name: _stored_planes(sweep, store, name) for name in sweep.planes}
            missing = find_missing(sweep, store)
            if missing.untrained:
                print(f"evaluate {len(missing.untrained)} models are not trained yet and left out", file=sys.stderr)
            data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
            tasks = [task for task in missing.tasks if task[1].model_id not in missing.untrained]
            tasks.sort(key=lambda task: -facts_of(task[1], data).forward_flops)  # so that none idles at the end
            failures = evaluate_models(store, tasks, plane_sets, data.classes, sweep.resources)
            if failures:
                raise StageFailedError(_failure_text("evaluate", "models", failures))


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


def _given_labels(sweep: SweepConfig, dataset: Dataset) -> Tensor | None:
    """The training labels that tell plane sets which images are mislabelled; None where no set asks."""
    from dbviz_ray.datasets import given_labels

    asked = any(planes.labels != "any" for planes in sweep.planes.values())
    noise = telling_noise(sweep.models()) if asked else None
    return given_labels(dataset, sweep.dataset.noise_kind, *noise) if noise else None


@contextmanager
def _about_planes(name: str) -> Iterator[None]:
    """Let errors name the plane set that they are about."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace("planes:", f"planes.{name}:", 1)) from None


def _stored_planes(sweep: SweepConfig, store: Store, name: str) -> PlaneSet:
    """A plane set of the sweep, drawn and stored unless it already is."""
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.planes import draw_plane_set
    from dbviz_ray.records import load_network, load_planes, save_planes

    if not store.exists(store.planes_file(name)):
        dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
        planes, network = sweep.planes[name], None
        if planes.off_manifold == "adversarial":
            models = {model.model_id: model for model in sweep.models()}
            attacked = models[planes.attacked] if planes.attacked else sweep.models()[0]
            if attacked.model_id not in store.complete_models():
                raise StageFailedError(
                    f"evaluate: planes.{name} attacks {attacked.model_id}, which is not trained yet; "
                    "run the stages train,evaluate"
                )
            network = load_network(store, attacked, dataset.image_shape, len(dataset.class_names))
            planes = planes.model_copy(update={"attacked": attacked.model_id})
        with _about_planes(name):
            drawn = draw_plane_set(planes, dataset, _given_labels(sweep, dataset), network)
        save_planes(store, name, drawn, dataset)
    return load_planes(store, name)[0]


def _analyse(sweep: SweepConfig, store: Store) -> None:
    from analysis.findings import findings
    from analysis.tables import NoModelsError, compute_tables, write_tables

    missing = find_missing(sweep, store)
    if missing.untrained or missing.tasks:
        raise StageFailedError(
            f"analyse needs every model: {len(missing.untrained)} are not trained and {len(missing.tasks)} not "
            "labelled yet; run the stages train,evaluate first"
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


def _print_findings(store: Store) -> None:
    from analysis.summary import summary_text
    from analysis.tracking import tracking_uri

    print(summary_text(store.read_json(FINDINGS_FILE)))
    print(f"\nFigures  {store.path('figures')}\nTables   {store.path('scores')}")
    uri = tracking_uri(store)
    command = f"{sys.executable} -m mlflow ui --host 127.0.0.1 --backend-store-uri {uri}"
    viewer = uri if uri.startswith("http") else command
    print(f"MLflow   {viewer}\n")


def _failure_text(stage: str, unit: str, failures: dict[str, str]) -> str:
    name, reason = next(iter(failures.items()))
    return (
        f"{stage}: {len(failures)} {unit} failed, the first was {name}: {reason}. What is done is kept; "
        "the same command tries the rest again"
    )
