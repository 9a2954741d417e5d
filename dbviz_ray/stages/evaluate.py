"""The stage evaluate: every trained model labels planes and finds margins, on the Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbviz_ray.config import SweepConfig
from dbviz_ray.evaluation.work import LabellingWork, MarginsWork, What, Work, missing_tasks
from dbviz_ray.stages import Options, State
from dbviz_ray.store import Store
from dbviz_ray.store.models import settle
from dbviz_ray.terminal.progress import say

if TYPE_CHECKING:
    from dbviz_ray.cluster.session import Session
    from dbviz_ray.datasets import DatasetFacts


def find_missing(sweep: SweepConfig, store: Store, options: Options, state: State) -> None:
    """List the tasks that are not done."""
    state.tasks = missing_tasks(sweep, store)


def run(sweep: SweepConfig, store: Store, options: Options, state: State, data: DatasetFacts, session: Session) -> None:
    """Do the tasks of all trained models.

    Raises DamagedFileError for a file that must be remade first, StoppedError, UserError.
    """
    from dbviz_ray.cluster.evaluation import evaluate_models
    from dbviz_ray.planning.sizes import evaluation_amounts, facts_of

    left_out = state.untrained - store.failures().keys()
    if left_out:
        say("evaluate", f"leaving out {len(left_out)} models that are not trained yet")
    work = work_of(sweep, store)
    tasks = [task for task in state.tasks if task.model.model_id not in state.untrained]
    # Longest first, so that short tasks fill the gaps at the end.
    tasks.sort(key=lambda task: -facts_of(task.model, data).forward_flops * work[task.what].points)
    store.forget_failures({task.model.model_id for task in tasks})
    amounts = evaluation_amounts(tasks, work, data)
    there = len(sweep.models()) - len(state.untrained) - len(amounts)
    ended = evaluate_models(store, tasks, work, amounts, there, data, sweep.resources, session, state.trained_on)
    settle("evaluate", store, ended)
    lost = state.untrained | ended.failures.keys()
    state.tasks = [task for task in state.tasks if task.model.model_id in lost]


def work_of(sweep: SweepConfig, store: Store) -> dict[What, Work]:
    """The work behind each kind of task. Draws plane sets that are not stored yet."""
    from dbviz_ray.cluster.evaluation import stored_planes
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.evaluation.margins import draw_lines

    work: dict[What, Work] = {
        name: LabellingWork(name, stored_planes(sweep, store, name), planes.probabilities)
        for name, planes in sweep.planes.items()
    }
    if sweep.margins is not None:
        dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
        lines = draw_lines(dataset.split(sweep.margins.split)[0], sweep.margins, dataset.normalised)
        work[None] = MarginsWork(lines)
    return work
