"""Draws planes; then a pool of Ray actors, the evaluators, labels them and finds margins, one task after another."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
import torch
from ray.exceptions import RayError

from dbviz_ray.cluster.nodes import alive_nodes, loss_of, room_for, this_node
from dbviz_ray.cluster.schedule import TaskQueue
from dbviz_ray.cluster.session import Session, start_worker
from dbviz_ray.config import ModelConfig, ResourcesConfig, SweepConfig
from dbviz_ray.datasets import DatasetFacts, load_dataset
from dbviz_ray.errors import DamagedFileError, StorageError, UserError, one_line
from dbviz_ray.evaluation.records import check_predictions, load_network, load_planes, save_planes
from dbviz_ray.evaluation.work import Task, What, Work
from dbviz_ray.planes import PlaneSet, draw_plane_set
from dbviz_ray.planes.drawing import about_plane_set, attacked_model, representative_labels
from dbviz_ray.store import Store
from dbviz_ray.store.layout import LABELS, PICTURES, partition
from dbviz_ray.store.models import Failure, Outcome, StageEnd, WorkEnd
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Amount, Progress


def evaluate_models(
    store: Store,
    tasks: Sequence[Task],
    work: Mapping[What, Work],
    amounts: Mapping[str, Amount],
    there: int,
    data: DatasetFacts,
    resources: ResourcesConfig,
    session: Session,
    trained_on: Mapping[str, str],
) -> StageEnd:
    """Do `tasks` in this order, except that an evaluator first takes models that `trained_on` names its own node for.

    `amounts` are the points to compute, by model_id; `there` more models need nothing. Ray's object store ships the
    work once to each node. Every file is written whole, so a repeated task is harmless.
    """
    if not tasks:
        return StageEnd()
    shared = {what: [ray.put(work[what])] for what in {task.what for task in tasks}}
    points = {what: work[what].points for what in shared}
    queue = TaskQueue(tasks, trained_on, resources.retries)
    failures: dict[str, Failure] = {}
    damaged = stopped = None
    reached: Counter[str] = Counter()
    actors = ray.remote(**_options(resources))(Evaluator)
    with Progress("evaluate", amounts, "points", there) as progress:
        for task, end in _Pool(actors, store, data, resources, session, queue, shared, progress).results():
            model_id = task.model.model_id
            reached[model_id] += points[task.what]
            progress.reach(model_id, reached[model_id])
            damaged = damaged or end.damaged
            if end.outcome is not Outcome.DONE and end.damaged is None:
                progress.fail(model_id)
                failures[model_id] = Failure(model_id, "evaluate", end.outcome, end.reason)
                progress.say(f"{model_id} failed ({end.outcome}): {end.reason}")
            if end.stops:
                stopped = end.reason
                break
    return StageEnd(failures, damaged=damaged, stopped=stopped)


@dataclass
class _Evaluator:
    """The driver's record of an actor."""

    actor: Any
    node: str | None = None
    """Its node; None until it has started."""
    task: Task | None = None
    there_before: set[str] = field(default_factory=lambda: set(alive_nodes()))
    """The nodes that were alive when it was requested."""


@dataclass
class _Pool:
    """Evaluators at work. One without room gets no task until it has started, so it holds up none.

    ray.util.ActorPool would give it one, and Ray's own restarts of actors would treat a lost machine like a task that
    kills every process that tries it.
    """

    actors: Any
    """The class of evaluators, exported to the cluster once."""
    store: Store
    data: DatasetFacts
    resources: ResourcesConfig
    session: Session
    queue: TaskQueue
    shared: Mapping[What, list[ray.ObjectRef]]
    progress: Progress
    busy: dict[ray.ObjectRef, _Evaluator] = field(default_factory=dict)
    failed_starts: int = 0

    def results(self) -> Iterator[tuple[Task, WorkEnd]]:
        """Every task and how it ended, in the order of their ends."""
        for _ in range(min(len(self.queue), self.resources.evaluators or evaluators_that_fit(self.resources))):
            self._start()
        # Where nodes come and go, one evaluator is always pending, so that an autoscaler adds a node for it.
        grows = self.session.joined and self.resources.evaluators is None
        try:
            while self.queue or any(evaluator.task for evaluator in self.busy.values()):
                if grows and self.queue and all(evaluator.node for evaluator in self.busy.values()):
                    self._start()
                [done], _ = ray.wait(list(self.busy))
                interruption.check()
                evaluator = self.busy.pop(done)
                try:
                    answer = ray.get(done)
                except RayError as error:
                    yield from self._died(evaluator, error)
                    continue
                if evaluator.task is not None:
                    yield evaluator.task, answer
                else:
                    evaluator.node = answer
                    self.failed_starts = 0
                self._give_task(evaluator)
        finally:
            for evaluator in self.busy.values():
                ray.kill(evaluator.actor)

    def _start(self) -> None:
        actor = self.actors.remote(self.store, self.data, self.resources)
        self.busy[actor.node.remote()] = _Evaluator(actor)

    def _give_task(self, evaluator: _Evaluator) -> None:
        """Give the evaluator its next task, or end it if none waits."""
        assert evaluator.node is not None
        evaluator.task = self.queue.take(evaluator.node)
        if evaluator.task is None:
            ray.kill(evaluator.actor)
            return
        self.busy[evaluator.actor.evaluate.remote(evaluator.task, self.shared[evaluator.task.what])] = evaluator

    def _died(self, evaluator: _Evaluator, error: RayError) -> Iterator[tuple[Task, WorkEnd]]:
        """Replace a dead evaluator, and queue its task again if the task has tries left."""
        ray.kill(evaluator.actor)  # it may live on, out of reach
        node_is_lost = loss_of(evaluator.node, evaluator.there_before)
        task = evaluator.task
        if task is None:
            self.failed_starts += not node_is_lost()
            if self.failed_starts > self.resources.retries:
                while not self.busy and (task := self.queue.take("")) is not None:  # none is at work
                    yield task, WorkEnd(Outcome.CRASHED, f"no evaluator could start ({one_line(error)})")
                return
        elif self.queue.take_back(task, node_is_lost):
            self.progress.say(f"{task.model.model_id}: its process died; trying again")
        else:
            yield task, WorkEnd(Outcome.CRASHED, "its process died, and no retries are left")
        if self.queue:
            self._start()


def _options(resources: ResourcesConfig) -> dict[str, Any]:
    """Ray's options of one evaluator."""
    return {"num_cpus": resources.cpus_per_evaluator, "num_gpus": resources.gpus_per_evaluator}


def evaluators_that_fit(resources: ResourcesConfig) -> int:
    """How many evaluators fit on the nodes now alive; at least one, which may wait for a node."""
    room = {"CPU": resources.cpus_per_evaluator, "GPU": resources.gpus_per_evaluator}
    return max(1, sum(room_for(room, there) for there in alive_nodes().values()))


class Evaluator:
    """A Ray actor: does tasks of the stage evaluate in its own worker process."""

    def __init__(self, store: Store, data: DatasetFacts, resources: ResourcesConfig) -> None:
        self._work: dict[What, Work] = {}
        self._checked: set[tuple[str, int]] = set()
        self._store, self._data, self._directory = store, data, resources.data_directory
        self._device = start_worker(resources.gpus_per_evaluator > 0, resources.cpus_per_evaluator)

    def node(self) -> str:
        """Its node; the answer shows that it has started."""
        return this_node()

    def evaluate(self, task: Task, reference: list[ray.ObjectRef]) -> WorkEnd:
        """Do a task. The list keeps Ray from resolving `reference`; the evaluator fetches the work itself, once."""
        try:
            if task.what not in self._work:
                self._work[task.what] = ray.get(reference[0])
            work = self._work[task.what]
            facts = self._data
            network = load_network(self._store, task.model, facts.image_shape, facts.classes, task.epoch)
            network = network.to(self._device)
            weights = task.model.model_id, task.epoch
            if weights not in self._checked:
                dataset = load_dataset(task.model.dataset, self._directory)
                check_predictions(self._store, task.model, network, dataset, task.epoch)
                self._checked.add(weights)
            work.do(network, self._device, self._store, task.model.model_id, task.epoch)
        except RayError:  # fetching the work failed; another evaluator may manage
            raise
        except Exception as error:
            return WorkEnd.of(error)
        return WorkEnd(Outcome.DONE)


def stored_planes(sweep: SweepConfig, store: Store, plane_set: str) -> PlaneSet:
    """A plane set of the sweep; drawn and stored if it is missing. UserError if it cannot be drawn.

    Without a Ray session this process attacks networks itself, on the CPU.
    """
    if not store.exists(store.planes_file(plane_set)):
        _draw(sweep, store, plane_set)
    return load_planes(store, plane_set)[0]


def _draw(sweep: SweepConfig, store: Store, plane_set: str) -> None:
    attacked = attacked_model(sweep, plane_set)
    if attacked is not None and not store.complete_among([attacked.model_id]):
        failure = store.failures().get(attacked.model_id)
        raise UserError(
            f"planes.{plane_set}.attacked",
            attacked.model_id,
            reason=f"could not be trained ({failure.reason})" if failure else "is not trained yet",
            allowed="another model" if failure else "",
            hint="" if failure else "run the stages train,evaluate",
        )
    for folder in (LABELS, PICTURES):  # leftovers of earlier planes
        store.remove_folder(f"{folder}/{partition('plane_set', plane_set)}")
    if attacked is None or not ray.is_initialized():
        _draw_on(torch.device("cpu"), sweep, store, plane_set, attacked)
        return
    drawing = ray.remote(_draw_on_worker).options(**_options(sweep.resources), max_retries=sweep.resources.retries)
    error = ray.get(drawing.remote(sweep, store, plane_set, attacked))
    if error is not None:
        raise error


def _draw_on_worker(sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> Exception | None:
    """Draw the planes; returns the error if that fails."""
    device = start_worker(sweep.resources.gpus_per_evaluator > 0, sweep.resources.cpus_per_evaluator)
    try:
        _draw_on(device, sweep, store, plane_set, attacked)
    except (UserError, DamagedFileError, StorageError) as error:
        return error
    return None


def _draw_on(
    device: torch.device, sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig | None
) -> None:
    dataset = load_dataset(sweep.dataset, sweep.resources.data_directory)
    planes, network = sweep.planes[plane_set], None
    if attacked is not None:
        network = load_network(store, attacked, dataset.image_shape, len(dataset.class_names)).to(device)
        planes = planes.model_copy(update={"attacked": attacked.model_id})
    with about_plane_set(plane_set):
        drawn = draw_plane_set(planes, dataset, representative_labels(sweep, plane_set, dataset), network)
    save_planes(store, plane_set, drawn, dataset)
