"""Run a sweep: train, evaluate, analyse, report.

    python -m dbviz_ray.sweep [NAME] [key=value ...]

Every stage does what is missing and nothing else, so the same command starts, continues and repeats.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING

from dbviz_ray.config import Cohort, ModelConfig, SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.store import Store
from dbviz_ray.sweep_files import embedded_sweeps, load_sweep

if TYPE_CHECKING:
    from dbviz_ray.planes import PlaneSet

STAGES = ("train", "evaluate", "analyse", "report")
DEFAULT_SWEEP = "double_descent_digits"
FINDINGS_FILE = "scores/findings.json"
EXIT_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_TERMINATED = 1, 2, 130, 143


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, taken the way that Ctrl-C takes."""


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

    cohorts: list[Cohort]
    tasks: list[tuple[str, ModelConfig]]
    analyse: bool
    report: bool

    def __bool__(self) -> bool:
        return bool(self.cohorts or self.tasks or self.analyse or self.report)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parsed = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        sweep, overrides = _sweep_and_overrides(parsed.sweep)
        config = load_sweep(sweep, overrides)
        if parsed.plan:
            from dbviz_ray.planning import plan

            print(plan(config))
            return 0
        options = Options(_stages(parsed.stages), parsed.stages is not None, parsed.address, parsed.verbose)
        run_sweep(config, Store(parsed.out or f"runs/{config.name}"), options)
    except UserError as error:
        for line in str(error).splitlines():
            print(f"dbviz_ray.sweep: {line}", file=sys.stderr)
        return EXIT_USAGE
    except StageFailedError as error:
        print(f"dbviz_ray.sweep: {error}", file=sys.stderr)
        return EXIT_FAILED
    except TerminatedError:
        return _interrupted(EXIT_TERMINATED)
    except KeyboardInterrupt:
        return _interrupted(EXIT_INTERRUPTED)
    return 0


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
    if "analyse" in options.stages and (missing.analyse or options.chosen):
        _analyse(sweep, store)
    if "report" in options.stages and (missing.report or missing.analyse or options.chosen):
        _report(sweep, store)
        _print_findings(store)
    print(f"{', '.join(options.stages)}: done in {time.monotonic() - started:.0f} s")


def find_missing(sweep: SweepConfig, store: Store) -> Missing:
    """Compare `sweep` with the files in `store`: a few listings, whatever the number of models."""
    trained = store.complete_models()
    labelled = {name: store.labelled_models(name) for name in sweep.planes}
    models = sweep.models()
    return Missing(
        cohorts=[c for c in sweep.cohorts() if any(m.model_id not in trained for m in c.models)],
        tasks=[(name, m) for name in sweep.planes for m in models if m.model_id not in labelled[name]],
        analyse=not store.exists(FINDINGS_FILE),
        report=not _reported(store),
    )


def _check_computable(sweep: SweepConfig) -> None:
    """UserError, before the command leaves a trace, if data, planes or networks cannot be had as asked for."""
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.planes import check_possible
    from dbviz_ray.planning import dataset_facts, longest_first

    dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
    for planes in sweep.planes.values():
        check_possible(dataset.split(planes.images)[1], planes)
    longest_first(sweep.cohorts(), dataset_facts(sweep.dataset, sweep.resources.data_directory))


def _train_and_evaluate(sweep: SweepConfig, store: Store, missing: Missing, options: Options) -> None:
    from dbviz_ray.cluster.evaluation import evaluate_models
    from dbviz_ray.cluster.session import ray_session
    from dbviz_ray.cluster.training import train_cohorts
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.planning import dataset_facts, longest_first
    from dbviz_ray.provenance import provenance

    data_directory = sweep.resources.data_directory
    classes = len(load_dataset(sweep.dataset, data_directory).class_names)
    with ray_session(options.address, sweep.resources, options.verbose):
        if missing.cohorts and "train" in options.stages:
            cohorts = longest_first(missing.cohorts, dataset_facts(sweep.dataset, data_directory))
            failures = train_cohorts(store, cohorts, sweep.resources, provenance())
            if failures:
                raise StageFailedError(_failure_text("train", "cohorts", failures))
        if "evaluate" in options.stages:
            plane_sets = {name: _stored_planes(sweep, store, name) for name in sweep.planes}
            tasks = _labelable(sweep, store)
            failures = evaluate_models(store, tasks, plane_sets, classes, sweep.resources)
            if failures:
                raise StageFailedError(_failure_text("evaluate", "models", failures))


def _stored_planes(sweep: SweepConfig, store: Store, plane_set: str) -> PlaneSet:
    """A plane set of the sweep, drawn and stored unless it already is."""
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.planes import draw_plane_set
    from dbviz_ray.records import load_planes, save_planes

    if not store.exists(store.planes_file(plane_set)):
        dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
        save_planes(store, plane_set, draw_plane_set(sweep.planes[plane_set], dataset), dataset)
    return load_planes(store, plane_set)[0]


def _labelable(sweep: SweepConfig, store: Store) -> list[tuple[str, ModelConfig]]:
    """Trained models without label maps, the widest first so that no evaluator idles at the end."""
    trained = store.complete_models()
    tasks = [(name, m) for name, m in find_missing(sweep, store).tasks if m.model_id in trained]
    return sorted(tasks, key=lambda task: -task[1].width)


def _analyse(sweep: SweepConfig, store: Store) -> None:
    from analysis.findings import findings
    from analysis.tables import NoModelsError, compute_tables, write_tables

    missing = find_missing(sweep, store)
    if missing.cohorts or missing.tasks:
        untrained = sum(len(cohort.models) for cohort in missing.cohorts)
        raise StageFailedError(
            f"analyse needs every model: {untrained} are not trained and {len(missing.tasks)} not labelled yet; "
            "run the stages train,evaluate first"
        )
    print("analyse  scoring label maps", file=sys.stderr)
    try:
        tables = compute_tables(store, sweep)
    except NoModelsError as error:
        raise StageFailedError(f"analyse: {error}") from None
    write_tables(store, tables)
    store.write_json(FINDINGS_FILE, findings(tables["double_descent"]))


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


def _reported(store: Store) -> bool:
    from analysis.tracking import is_tracked  # imports matplotlib, not MLflow

    return is_tracked(store)


def _print_findings(store: Store) -> None:
    from analysis.findings import summary_text
    from analysis.tracking import tracking_uri

    print(summary_text(store.read_json(FINDINGS_FILE)))
    print(f"\nFigures  {store.path('figures')}\nTables   {store.path('scores')}")
    uri = tracking_uri(store)
    viewer = uri if uri.startswith("http") else f"mlflow ui --host 127.0.0.1 --backend-store-uri {uri}"
    print(f"MLflow   {viewer}\n")


def _failure_text(stage: str, unit: str, failures: dict[str, str]) -> str:
    name, reason = next(iter(failures.items()))
    return (
        f"{stage}: {len(failures)} {unit} failed, the first was {name}: {reason}. What is done is kept; "
        "the same command tries the rest again"
    )


def _sweep_and_overrides(words: Sequence[str]) -> tuple[str, list[str]]:
    """The first word is the sweep's name unless it is an override."""
    if words and "=" not in words[0]:
        return words[0], list(words[1:])
    return DEFAULT_SWEEP, list(words)


def _stages(text: str | None) -> tuple[str, ...]:
    if text is None:
        return STAGES
    named = [stage.strip() for stage in text.split(",")]
    for stage in named:
        if stage not in STAGES:
            raise UserError(f"--stages: {stage!r} is not allowed; allowed: {', '.join(STAGES)}")
    return tuple(stage for stage in STAGES if stage in named)


def _terminated(number: int, frame: FrameType | None) -> None:
    raise TerminatedError


def _interrupted(code: int) -> int:
    print("dbviz_ray.sweep: interrupted; the same command continues where it stopped", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m dbviz_ray.sweep",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Train every model of a sweep, label planes through images with each of them, score how reproducible\n"
            "and how fragmented their decision regions are, and draw the result. Doing what is missing and nothing\n"
            "else, the same command also continues an interrupted run and repeats a finished one in seconds."
        ),
        epilog=(
            "sweeps that ship with the package:\n"
            + "".join(f"  {name}\n" for name in embedded_sweeps())
            + "\nexamples:\n"
            "  python -m dbviz_ray.sweep\n"
            "  python -m dbviz_ray.sweep double_descent --plan\n"
            "  python -m dbviz_ray.sweep double_descent_digits grid.width=[4,16] training.epochs=50 --out runs/small\n"
            "  python -m dbviz_ray.sweep my_sweep.yaml --out s3://bucket/my_sweep\n"
            "\nexit codes: 0 done, 1 some models failed, 2 the sweep or an option is not usable, "
            "130 and 143 interrupted"
        ),
    )
    parser.add_argument(
        "sweep",
        nargs="*",
        metavar="NAME or key=value",
        help=f"a sweep's name or a path to its .yaml file (default: {DEFAULT_SWEEP}), then fields to override by "
        "their dotted names, with values as in YAML: training.epochs=50 grid.width=[4,16]",
    )
    parser.add_argument("--plan", action="store_true", help="print what would run and what it costs; run nothing")
    parser.add_argument(
        "--stages",
        metavar="STAGE,...",
        help="which of train, evaluate, analyse, report to run (default: all); analyse and report, "
        "named here, are done again even if they are complete",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="run directory, or a URI such as s3://bucket/prefix (default: runs/<sweep>)",
    )
    parser.add_argument(
        "--address",
        help="Ray cluster to use; 'local' starts one on this machine "
        "(default: $RAY_ADDRESS, else a cluster running on this machine, else local)",
    )
    parser.add_argument("--verbose", action="store_true", help="show the output of Ray and of its workers")
    return parser


if __name__ == "__main__":
    sys.exit(main())
