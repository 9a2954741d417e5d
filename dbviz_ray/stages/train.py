"""The stage train: copies models from other runs and lets workers train the rest."""

from dbviz_ray.cluster import Job, Training, Workers
from dbviz_ray.cluster.schedule import CohortSchedule, cohorts_to_train
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import DamagedFileError, UserError, one_line
from dbviz_ray.stages import Options, State
from dbviz_ray.store import SWEEP_FILE, Store
from dbviz_ray.store.layout import COHORTS
from dbviz_ray.store.models import settle
from dbviz_ray.terminal.progress import Progress, say


def find_missing(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """List the untrained models and their cohorts."""
    state.untrained = {model.model_id for model in sweep.models()} - store.complete_models()
    state.cohorts = cohorts_to_train(sweep, state.untrained, store.begun_cohorts()) if state.untrained else []


def run(sweep: SweepConfig, store: Store, options: Options, state: State, job: Job, workers: Workers) -> None:
    """Copy models from other runs, then train the rest.

    Raises DamagedFileError for a file that must be remade first, StageFailedError, UserError.
    """
    if not state.cohorts:
        return
    from dbviz_ray.planning.sizes import longest_first, training_amounts

    copied = _reuse(sweep, store, state.untrained)
    if copied:
        state.untrained -= copied
        state.cohorts = cohorts_to_train(sweep, state.untrained, store.begun_cohorts())
    store.forget_failures(state.untrained)
    trained = {model.model_id for model in sweep.models()} - state.untrained
    cohorts = longest_first(state.cohorts, job.data)
    amounts = training_amounts(cohorts, job.data)
    schedule = CohortSchedule(cohorts, trained, sweep.resources.retries)
    damaged = None
    if cohorts:
        with Progress("train", amounts, "epochs", len(trained - amounts.keys())) as progress:
            training = Training(schedule, progress)
            workers.train(job, training)
        damaged, state.trained_on = training.damaged, training.trained_on
    # Models that are there may be trained again beside one that is not: if that fails, they have not failed.
    state.untrained = schedule.failures.keys() - store.complete_among(schedule.failures)
    failures = [failure for model_id, failure in schedule.failures.items() if model_id in state.untrained]
    settle("train", store, failures, damaged, schedule.stopped)
    state.cohorts = cohorts_to_train(sweep, state.untrained, {})
    if not state.untrained:  # a failed cohort continues from its checkpoint next time
        store.remove_folder(COHORTS)


def _reuse(sweep: SweepConfig, store: Store, untrained: set[str]) -> set[str]:
    """Copy untrained models from the runs of `resources.reuse`; returns their model_ids."""
    from dbviz_ray.evaluation.records import copy_model

    wanted = {model.model_id: model for model in sweep.models() if model.model_id in untrained}
    copied = set()
    for run in sweep.resources.reuse:
        other = Store(run).patient()
        if not other.exists(SWEEP_FILE):
            raise UserError("resources.reuse", run, reason=f"holds no {SWEEP_FILE}", allowed="run directories")
        for model_id in wanted.keys() & other.complete_models():
            model = wanted.pop(model_id)
            try:
                other.check_model(model_id)
                copy_model(other, store, model)
            except (DamagedFileError, FileNotFoundError) as error:
                say("train", f"{model_id} is not taken over but trained: {one_line(error)}")
            else:
                copied.add(model_id)
    if copied:
        say("train", f"{len(copied)} models are taken over from {', '.join(sweep.resources.reuse)}")
    return copied
