"""Ray actors label planes and find margins: a pool of evaluators, each taking one task after another.

ray.util.ActorPool would hand tasks to actors for which there is no room yet; Ray's own restarts of actors know no
difference between a machine that vanished and a task that kills every process that tries it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from dbviz_ray.cluster.nodes import alive_nodes, loss_of, room_for, this_node
from dbviz_ray.cluster.schedule import TaskQueue
from dbviz_ray.cluster.session import Session, start_worker
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.errors import DamagedFileError, StorageError, one_line
from dbviz_ray.evaluation.records import load_network
from dbviz_ray.evaluation.tasks import Task, What
from dbviz_ray.evaluation.work import Work
from dbviz_ray.store import Store
from dbviz_ray.store.models import CUDA_ERROR, Failure, Outcome, StageEnd, outcome_of
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Amount, Progress


def evaluate_models(
    store: Store,
    tasks: Sequence[Task],
    work: Mapping[What, Work],
    amounts: Mapping[str, Amount],
    there: int,
    classes: int,
    resources: ResourcesConfig,
    session: Session,
    trained_on: Mapping[str, str],
) -> StageEnd:
    """Do `tasks`, started in this order but for those whose models were trained on an evaluator's own node.

    Work is shipped once to each node, through Ray's object store. Files are written whole, so that a task that is done
    again doubles nothing.

    Args:
        store: Where.
        tasks: What is missing.
        work: How each kind of task is done.
        amounts: The points of every model's tasks.
        there: Models of which nothing is missing.
        classes: That models tell apart.
        resources: With what.
        session: On which cluster.
        trained_on: The node on which a model was trained, where it is known.
    """
    if not tasks:
        return StageEnd()
    shared = {what: [ray.put(work[what])] for what in {task.what for task in tasks}}
    points = {what: work[what].points for what in shared}
    queue = TaskQueue(tasks, trained_on, resources.retries)
    failures: dict[str, Failure] = {}
    damaged = stopped = None
    reached: Counter[str] = Counter()
    with Progress("evaluate", amounts, "points", there) as progress:
        for task, end in _Pool(store, classes, resources, session, queue, shared, progress).results():
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
    """An actor, as the driver knows it."""

    actor: Any
    node: str | None = None
    """Where it runs; None until it has started."""
    task: Task | None = None
    there_before: set[str] = field(default_factory=lambda: set(alive_nodes()))
    """The nodes that were there when it was asked for."""


class _Pool:
    """Evaluators at work. One is given its first task when it has started: a pool with little room delays nothing."""

    def __init__(
        self,
        store: Store,
        classes: int,
        resources: ResourcesConfig,
        session: Session,
        queue: TaskQueue,
        shared: Mapping[What, list[ray.ObjectRef]],
        progress: Progress,
    ) -> None:
        options = {f"num_{kind.lower()}s": amount for kind, amount in room_of_evaluator(resources).items()}
        self._actors = ray.remote(Evaluator).options(**options)
        self._arguments = (store, classes, resources)
        self._resources, self._queue, self._shared, self._progress = resources, queue, shared, progress
        # On a cluster whose nodes come and go one more is always asked for, which an autoscaler makes room for.
        self._grows = session.joined and resources.evaluators is None
        self._busy: dict[ray.ObjectRef, _Evaluator] = {}
        self._failed_starts = 0

    def results(self) -> Iterator[tuple[Task, TaskEnd]]:
        """Every task of the queue and how it ended, as they end."""
        for _ in range(min(len(self._queue), self._resources.evaluators or evaluators_that_fit(self._resources))):
            self._start()
        try:
            while self._queue or any(evaluator.task for evaluator in self._busy.values()):
                if self._grows and self._queue and all(evaluator.node for evaluator in self._busy.values()):
                    self._start()
                [done], _ = ray.wait(list(self._busy))
                interruption.check()
                evaluator = self._busy.pop(done)
                try:
                    answer = ray.get(done)
                except RayError as error:
                    yield from self._died(evaluator, error)
                    continue
                if evaluator.task is not None:
                    yield evaluator.task, answer
                else:
                    evaluator.node = answer
                    self._failed_starts = 0
                self._give_task(evaluator)
        finally:
            for evaluator in self._busy.values():
                ray.kill(evaluator.actor)

    def _start(self) -> None:
        actor = self._actors.remote(*self._arguments)
        self._busy[actor.node.remote()] = _Evaluator(actor)

    def _give_task(self, evaluator: _Evaluator) -> None:
        """The next task; the evaluator is ended if there is none."""
        assert evaluator.node is not None
        evaluator.task = self._queue.take(evaluator.node)
        if evaluator.task is None:
            ray.kill(evaluator.actor)
            return
        self._busy[evaluator.actor.evaluate.remote(evaluator.task, self._shared[evaluator.task.what])] = evaluator

    def _died(self, evaluator: _Evaluator, error: RayError) -> Iterator[tuple[Task, TaskEnd]]:
        """Start another one in its place, which does its task again, if that has tries left."""
        ray.kill(evaluator.actor)  # if it is not dead, but out of reach
        node_is_lost = loss_of(evaluator.node, evaluator.there_before)
        task, told = evaluator.task, "its process died"
        if task is None:
            self._failed_starts += not node_is_lost()
            if self._failed_starts > self._resources.retries:
                yield from self._given_up(one_line(error))
                return
        elif self._queue.take_back(task, node_is_lost):
            self._progress.say(f"{task.model.model_id} is done again: {told}")
        else:
            yield task, TaskEnd(Outcome.CRASHED, f"{told}, and the retries are used up")
        if self._queue:
            self._start()

    def _given_up(self, reason: str) -> Iterator[tuple[Task, TaskEnd]]:
        """No evaluator can be started: if none is at work either, nothing more will be done."""
        while not self._busy and (task := self._queue.take("")) is not None:
            yield task, TaskEnd(Outcome.CRASHED, f"no evaluator could be started ({reason})")


def room_of_evaluator(resources: ResourcesConfig) -> dict[str, float]:
    """Ray's resources of one evaluator."""
    gpus = resources.gpus_per_evaluator
    return {"CPU": resources.cpus_per_evaluator} | ({"GPU": gpus} if gpus else {})


def evaluators_that_fit(resources: ResourcesConfig) -> int:
    """As many as the machines that are there now can hold; at least one, which may have to wait for one to come."""
    room = room_of_evaluator(resources)
    return max(1, sum(room_for(room, there) for there in alive_nodes().values()))


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended."""

    outcome: Outcome
    reason: str = ""
    damaged: DamagedFileError | None = None
    """A file that must be made again before the task can be done."""
    stops: bool = False
    """Whether no other task would fare better."""


class Evaluator:
    """The actor's class."""

    def __init__(self, store: Store, classes: int, resources: ResourcesConfig) -> None:
        self._work: dict[What, Work] = {}
        self._store, self._classes = store, classes
        self._device = start_worker(resources.gpus_per_evaluator > 0, resources.cpus_per_evaluator)

    def node(self) -> str:
        """Where it runs; answered when it has started."""
        return this_node()

    def evaluate(self, task: Task, reference: list[ray.ObjectRef]) -> TaskEnd:
        """Do a task.

        The reference comes in a list, so that Ray leaves it to this evaluator to fetch the work, once.
        """
        try:
            if task.what not in self._work:
                self._work[task.what] = ray.get(reference[0])
            work = self._work[task.what]
            network = load_network(self._store, task.model, work.image_shape, self._classes, task.epoch)
            work.do(network.to(self._device), self._device, self._store, task.model.model_id, task.epoch)
        except StorageError as error:
            return TaskEnd(Outcome.FAILED, str(error), stops=True)
        except DamagedFileError as error:
            return TaskEnd(Outcome.FAILED, str(error), damaged=error)
        except RayError:  # the work could not be fetched: another evaluator may
            raise
        except Exception as error:
            if CUDA_ERROR in str(error):
                raise
            return TaskEnd(outcome_of(error), one_line(error, with_type=True))
        return TaskEnd(Outcome.DONE)
