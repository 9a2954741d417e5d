"""The stages train and evaluate, on a Ray cluster. Each does what its run directory lacks."""

from __future__ import annotations

from dbviz_ray.cluster.evaluation import evaluate_models
from dbviz_ray.cluster.planes import stored_planes
from dbviz_ray.cluster.session import Session, ray_session
from dbviz_ray.cluster.training import train_cohorts
from dbviz_ray.config import SweepConfig
from dbviz_ray.datasets import facts_of_dataset, load_dataset
from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.evaluation.margins import check_enough
from dbviz_ray.evaluation.records import copy_model
from dbviz_ray.evaluation.tasks import FindMargins, LabellingWork, LabelPlanes, MarginsWork, What, Work
from dbviz_ray.planes.drawing import check_plane_sets_possible
from dbviz_ray.planning.costs import evaluation_amounts, training_amounts
from dbviz_ray.planning.sizes import facts_of, longest_first
from dbviz_ray.stages.missing import Missing, find_missing
from dbviz_ray.store import FINDINGS_FILE, SWEEP_FILE, Store
from dbviz_ray.store.damage import check_model
from dbviz_ray.store.layout import COHORTS
from dbviz_ray.store.outcomes import StageEnd, StoppedError
from dbviz_ray.store.provenance import provenance
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import say


def check_computable(sweep: SweepConfig) -> None:
    """UserError, before the command leaves a trace, if data, planes or networks cannot be had as asked for."""
    dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
    check_plane_sets_possible(sweep, dataset)
    if sweep.margins is not None:
        check_enough(len(dataset.split(sweep.margins.split)[1]), sweep.margins)
    data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
    for cohort in sweep.cohorts():
        facts_of(cohort.models[0], data)


def train_and_evaluate(
    sweep: SweepConfig,
    store: Store,
    missing: Missing,
    *,
    driver: str,
    stages: tuple[str, ...],
    address: str | None,
    verbose: bool,
) -> None:
    """Do what is missing of those two of `stages`, and record the models that the sweep has to do without.

    `driver` is the token of the lease that is held.

    Raises DamagedFileError for what must be made again first, StoppedError, UserError.
    """
    store.remove(FINDINGS_FILE)  # of other models: should the command end before the analysis, it is still to be done
    with ray_session(address, sweep.resources, verbose) as session:
        ended = StageEnd()
        if missing.cohorts and "train" in stages:
            ended = _train(sweep, store, missing, session, driver)
        if "evaluate" in stages:
            _evaluate(sweep, store, ended, session)


def _train(sweep: SweepConfig, store: Store, missing: Missing, session: Session, driver: str) -> StageEnd:
    """Take over what other runs have trained, then train the rest."""
    if _reuse(sweep, store, missing.untrained):
        missing = find_missing(sweep, store)
    store.forget_failures(missing.untrained)
    data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
    trained = {model.model_id for model in sweep.models()} - missing.untrained
    cohorts = longest_first(missing.cohorts, data)
    amounts = training_amounts(cohorts, data)
    ended = train_cohorts(store, cohorts, amounts, trained, sweep.resources, provenance(), session, driver)
    _settle("train", store, ended)
    if not ended.failures:  # whose checkpoints the next try goes on from
        store.remove_folder(COHORTS)
    return ended


def _reuse(sweep: SweepConfig, store: Store, untrained: set[str]) -> int:
    """Copy the missing models that the runs of `resources.reuse` have; returns how many."""
    wanted = {model.model_id: model for model in sweep.models() if model.model_id in untrained}
    copied = 0
    for run in sweep.resources.reuse:
        other = Store(run).patient()
        if not other.exists(SWEEP_FILE):
            raise UserError(f"resources.reuse: {run} is not a run directory: it holds no {SWEEP_FILE}")
        for model_id in wanted.keys() & other.complete_models():
            model = wanted.pop(model_id)
            try:
                check_model(other, model_id)
                copy_model(other, store, model)
            except (DamagedFileError, FileNotFoundError) as error:
                say("train", f"{model_id} is not taken over but trained: {one_line(error)}")
            else:
                copied += 1
    if copied:
        say("train", f"{copied} models are taken over from {', '.join(sweep.resources.reuse)}")
    return copied


def _evaluate(sweep: SweepConfig, store: Store, trained: StageEnd, session: Session) -> None:
    """Label planes and find margins with every model that is trained."""
    missing = find_missing(sweep, store)
    left_out = missing.untrained - store.failures().keys()
    if left_out:
        say("evaluate", f"{len(left_out)} models are not trained yet and left out")
    work = work_of(sweep, store)
    data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
    tasks = [task for task in missing.tasks if task.model.model_id not in missing.untrained]
    # The longest first, so that none idles at the end.
    tasks.sort(key=lambda task: -facts_of(task.model, data).forward_flops * work[task.what].points)
    store.forget_failures({task.model.model_id for task in tasks})
    amounts = evaluation_amounts(tasks, work, data)
    there = len(sweep.models()) - len(missing.untrained) - len(amounts)
    ended = evaluate_models(
        store, tasks, work, amounts, there, data.classes, sweep.resources, session, trained.trained_on
    )
    _settle("evaluate", store, ended)


def work_of(sweep: SweepConfig, store: Store) -> dict[What, Work]:
    """What evaluators need for each kind of task."""
    work: dict[What, Work] = {
        LabelPlanes(name): LabellingWork(name, stored_planes(sweep, store, name), planes.probabilities)
        for name, planes in sweep.planes.items()
    }
    if sweep.margins is not None:
        dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
        work[FindMargins()] = MarginsWork.drawn(sweep.margins, dataset)
    return work


def _settle(stage: str, store: Store, ended: StageEnd) -> None:
    """Record failures; raise what keeps the sweep from going on."""
    interruption.check()
    if ended.damaged is not None:
        raise ended.damaged
    if ended.stopped is not None:
        raise StoppedError(f"{stage}: {ended.stopped}. What is done is kept; the same command does the rest")
    for failure in ended.failures.values():
        store.write_failure(failure)
