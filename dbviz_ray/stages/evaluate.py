"""The stage evaluate: every trained model labels planes and finds margins."""

from collections import Counter
from typing import TYPE_CHECKING

from dbviz_ray.cluster import Job, Workers
from dbviz_ray.cluster.schedule import TaskQueue
from dbviz_ray.config import SweepConfig
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation.work import LabellingWork, What, Work, draw_planes, missing_tasks
from dbviz_ray.stages import Options, State
from dbviz_ray.store import Store
from dbviz_ray.store.layout import LABELS, PICTURES, partition
from dbviz_ray.store.models import Failure, Outcome, settle
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Progress, say

if TYPE_CHECKING:
    from dbviz_ray.planes import PlaneSet


def find_missing(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """List the tasks that are not done."""
    state.tasks = missing_tasks(sweep, store)


def run(sweep: SweepConfig, store: Store, options: Options, state: State, job: Job, workers: Workers) -> None:
    """Do the tasks of all trained models.

    Raises DamagedFileError for a file that must be remade first, StageFailedError, UserError.
    """
    from dbviz_ray.planning.sizes import evaluation_amounts, facts_of

    left_out = state.untrained - store.failures().keys()
    if left_out:
        say("evaluate", f"leaving out {len(left_out)} models that are not trained yet")
    work = work_of(sweep, store, workers)
    tasks = [task for task in state.tasks if task.model.model_id not in state.untrained]
    # Longest first, so that short tasks fill the gaps at the end.
    tasks.sort(key=lambda task: -facts_of(task.model, job.data).forward_flops * work[task.what].points)
    store.forget_failures({task.model.model_id for task in tasks})
    amounts = evaluation_amounts(tasks, work, job.data)
    there = len(sweep.models()) - len(state.untrained) - len(amounts)
    failures: dict[str, Failure] = {}
    damaged = stopped = None
    reached: Counter[str] = Counter()
    if tasks:
        queue = TaskQueue(tasks, state.trained_on, job.resources.retries)
        needed = {what: work[what] for what in {task.what for task in tasks}}
        with Progress("evaluate", amounts, "points", there) as progress:
            for task, end in workers.evaluate(job, queue, needed):
                interruption.check()
                model_id = task.model.model_id
                reached[model_id] += work[task.what].points
                progress.reach(model_id, reached[model_id])
                damaged = damaged or end.damaged
                if end.outcome is not Outcome.DONE and end.damaged is None:
                    progress.fail(model_id)
                    failures[model_id] = Failure(model_id, "evaluate", end.outcome, end.reason)
                    progress.say(f"{model_id} failed ({end.outcome}): {end.reason}")
                if end.stops:
                    stopped = end.reason
                    break
    settle("evaluate", store, failures.values(), damaged, stopped)
    lost = state.untrained | failures.keys()
    state.tasks = [task for task in state.tasks if task.model.model_id in lost]


def work_of(sweep: SweepConfig, store: Store, workers: Workers | None = None) -> dict[What, Work]:
    """The work behind each kind of task. Draws plane sets that are not stored yet."""
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.evaluation.margins import draw_lines

    sets = list(sweep.planes)
    shown = sets if any(planes.off_manifold != "none" for planes in sweep.planes.values()) else sets[:1]  # in figures
    work: dict[What, Work] = {
        name: LabellingWork(name, stored_planes(sweep, store, name, workers), planes, name in shown)
        for name, planes in sweep.planes.items()
    }
    if sweep.margins is not None:
        dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
        work[None] = draw_lines(dataset.split(sweep.margins.split)[0], sweep.margins, dataset.normalised)
    return work


def stored_planes(sweep: SweepConfig, store: Store, plane_set: str, workers: Workers | None = None) -> "PlaneSet":
    """A plane set of the sweep; drawn and stored if it is missing. UserError if it cannot be drawn.

    Without `workers` networks are attacked here, on the CPU.
    """
    from dbviz_ray.evaluation.records import load_planes

    if store.exists(store.planes_file(plane_set)):
        return load_planes(store, plane_set)[0]
    planes, attacked = sweep.planes[plane_set], None
    if planes.off_manifold == "adversarial":
        attacked = next(model for model in sweep.models() if planes.attacked in (None, model.model_id))
    if attacked is not None and not store.complete_among([attacked.model_id]):
        field, failure = f"planes.{plane_set}.attacked", store.failures().get(attacked.model_id)
        if failure is None:
            raise UserError(field, attacked.model_id, reason="is not trained yet", hint="run the stages train,evaluate")
        reason = f"could not be trained ({failure.reason})"
        raise UserError(field, attacked.model_id, reason=reason, allowed="another model")
    for folder in (LABELS, PICTURES):  # leftovers of earlier planes
        store.remove_folder(f"{folder}/{partition('plane_set', plane_set)}")
    if attacked is None or workers is None:
        draw_planes(sweep, store, plane_set, attacked)
    else:
        workers.draw(sweep, store, plane_set, attacked)
    return load_planes(store, plane_set)[0]
