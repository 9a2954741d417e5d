"""Runs the stages of a sweep under the lease of its run directory, and remakes damaged files.

Stages import heavy libraries only when there is work, so that a finished sweep says so at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from dbviz_ray.cluster import ALONE, Job, Workers
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError, StageFailedError, UserError
from dbviz_ray.stages import STAGES, Options, State, analyse, evaluate, report, train
from dbviz_ray.store import FINDINGS_FILE, SWEEP_FILE, Store
from dbviz_ray.store.layout import EVALUATIONS, MADE_BY, MODELS, TABLES_RECORD, folder_of
from dbviz_ray.store.lease import Lease
from dbviz_ray.store.models import provenance
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Line, say

if TYPE_CHECKING:
    from dbviz_ray.datasets import DatasetFacts

NEEDED_LATER = "dbviz_ray.analysis.findings", "dbviz_ray.analysis.figures.drawing"  # imported while workers are busy


def state_of(sweep: SweepConfig, store: Store, options: Options) -> State:
    """What `store` lacks of `sweep`, from a few listings however many models there are."""
    state = State()
    for stage in (train, evaluate, analyse, report):
        stage.find_missing(sweep, store, options, state)
    return state


def run_sweep(sweep: SweepConfig, store: Store, options: Options) -> None:
    """Make what `store` lacks of `sweep`, stage by stage. Raises UserError, StageFailedError or StorageError.

    A damaged file of one of these stages is deleted and made again.
    """
    started = time.monotonic()
    Line.redraws_allowed = not options.verbose
    if lost := store.check_owner(sweep):
        say("sweep", f"{store.path(SWEEP_FILE)} is lost or damaged; it is made again, as are all evaluations")
    state = state_of(sweep, store, options)  # read-only: a complete run needs no lease
    damage: DamagedFileError | None = None
    if state.reported and not lost and not (options.chosen and {"analyse", "report"} & set(options.stages)):
        try:
            found = report.result_text(store, options)
            print(f"{sweep.name} is complete in {store.root}; nothing to do.\n\n{found}")
            return
        except DamagedFileError as error:
            damage = error
    if lost and "evaluate" not in options.stages:
        reason = f"do not include evaluate, but {SWEEP_FILE} is lost, so all evaluations are made again"
        raise UserError("--stages", ",".join(options.stages), reason=reason)
    data = _checked(sweep) if lost or state.computes(options) else None
    dropped: set[str] = set()
    with Lease(store) as lease, interruption.watching(lease.check):
        store = store.patient().held_by(lease.token)
        store.claim(sweep, lost)
        while True:
            try:
                if damage is not None:
                    _drop(damage, store, options.stages, dropped)
                _run(sweep, store, options, data)
                break
            except DamagedFileError as error:
                damage = error
        store.remove_leftovers()
    print(f"{', '.join(options.stages)}: done in {time.monotonic() - started:.0f} s")
    failures = list(store.failures().values())
    if failures:
        first = failures[0]
        raise StageFailedError(
            f"{len(failures)} models failed and are left out, the first was {first.model_id} ({first.stage}, "
            f"{first.outcome}: {first.reason}). Finished work is kept; the same command tries the rest again"
        )


def _checked(sweep: SweepConfig) -> DatasetFacts:
    """Check data, planes and networks before the command writes anything; UserError if one is impossible."""
    with Line("sweep", "checking the configuration"):
        from dbviz_ray.datasets import facts_of_dataset, load_dataset
        from dbviz_ray.evaluation.margins import check_enough
        from dbviz_ray.planes.drawing import check_plane_sets_possible
        from dbviz_ray.planning.step_times import check_networks

        dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
        check_plane_sets_possible(sweep, dataset)
        if sweep.margins is not None:
            check_enough(len(dataset.split(sweep.margins.split)[1]), sweep.margins)
        data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
        check_networks(sweep.cohorts(), data)
        return data


def _run(sweep: SweepConfig, store: Store, options: Options, data: DatasetFacts | None) -> None:
    """Make what is missing."""
    state = state_of(sweep, store, options)
    if state.computes(options):
        job = Job(store, data or _checked(sweep), sweep.resources, provenance(), Path.cwd())
        for file in (TABLES_RECORD, FINDINGS_FILE):  # of fewer models; if the command ends early, they must be missing
            store.remove(file)
        state.analysed = False
        with ThreadPoolExecutor(1) as aside, _workers(options, job, state, aside) as workers:
            aside.map(import_module, NEEDED_LATER if "report" in options.stages else ())
            if "train" in options.stages:
                train.run(sweep, store, options, state, job, workers)
            if "evaluate" in options.stages:
                evaluate.run(sweep, store, options, state, job, workers)
    interruption.check()
    if "report" not in options.stages:
        if "analyse" in options.stages:
            analyse.run(sweep, store, options, state)
        return
    from dbviz_ray.analysis.tracking import TrackingBeside

    with TrackingBeside(store) as beside:
        if "analyse" in options.stages:
            analyse.run(sweep, store, options, state)
        report.run(sweep, store, options, state, beside)


def _workers(options: Options, job: Job, state: State, aside: ThreadPoolExecutor) -> AbstractContextManager[Workers]:
    """The Ray cluster at the address of the options, or this process."""
    if options.address == ALONE:
        from dbviz_ray.cluster.worker import this_process

        return this_process(job.resources)
    from dbviz_ray.cluster.session import ray_session
    from dbviz_ray.planning.memory import memory_need

    aside.map(lambda cohort: memory_need(cohort.models, job.data, job.resources), state.cohorts)  # while Ray starts
    return ray_session(options.address, job.resources, options.verbose)


def _drop(error: DamagedFileError, store: Store, stages: Sequence[str], dropped: set[str]) -> None:
    """Delete the damaged file and all other damaged ones; adds their names to `dropped`.

    StageFailedError if these stages do not make it again, or if they have already done so.
    """
    kind = folder_of(error.name)
    stage = MADE_BY.get(kind)
    if stage is None:
        raise StageFailedError(f"{error}; delete {error.path}")
    if stage not in stages:
        again = [s for s in STAGES[STAGES.index(stage) :] if s == stage or s in stages]
        raise StageFailedError(f"{error}; the same command with --stages {','.join(again)} makes it again")
    if error.name in dropped:
        raise StageFailedError(f"{error}, corrupt again after rewriting; check the disk")
    # A disk that lost one file may have lost others: find all before workers start again.
    folders = [folder for folder in (MODELS, *EVALUATIONS) if MADE_BY[folder] in stages]
    others = store.damaged_files(folders) if kind in folders else []
    names = {error.name, *(other.name for other in others)}
    what = "it is" if len(names) == 1 else f"{len(names)} damaged files are"
    say(stage, f"{error}; {what} made again")
    dropped |= names
    for name in names:
        store.drop(name)
