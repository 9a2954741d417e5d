"""A pool of Ray actors, the evaluators, labels planes and finds margins, one task after another."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError

from dbviz_ray.cluster import Job
from dbviz_ray.cluster.nodes import alive_nodes, loss_of, room_for, this_node
from dbviz_ray.cluster.schedule import TaskQueue
from dbviz_ray.cluster.worker import start_evaluator
from dbviz_ray.config import ModelConfig, ResourcesConfig, SweepConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.errors import DamagedFileError, StorageError, UserError, one_line
from dbviz_ray.evaluation.work import Task, TaskRunner, What, Work, draw_planes
from dbviz_ray.store import Store
from dbviz_ray.store.models import Outcome, WorkEnd
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import say


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
class Pool:
    """Evaluators at work. One without room gets no task until it has started, so it holds up none.

    ray.util.ActorPool would give it one, and Ray's own restarts of actors would treat a lost machine like a task that
    kills every process that tries it.
    """

    job: Job
    queue: TaskQueue
    work: Mapping[What, Work]
    joined: bool
    """Whether the cluster was running before, so that its nodes may come and go."""
    busy: dict[ray.ObjectRef, _Evaluator] = field(default_factory=dict)
    failed_starts: int = 0

    def __post_init__(self) -> None:
        self._resources = self.job.resources
        self._actors = ray.remote(**_options(self._resources))(Evaluator)  # exported to the cluster once
        # Ray's object store ships the work once to each node.
        self._shared = {what: [ray.put(work)] for what, work in self.work.items()}

    def results(self) -> Iterator[tuple[Task, WorkEnd]]:
        """See `Workers.evaluate`."""
        room = {"CPU": self._resources.cpus_per_evaluator, "GPU": self._resources.gpus_per_evaluator}
        fitting = sum(room_for(room, there) for there in alive_nodes().values()) or 1  # which may wait for a node
        for _ in range(min(len(self.queue), self._resources.evaluators or fitting)):
            self._start()
        # Where nodes come and go, one evaluator is always pending, so that an autoscaler adds a node for it.
        grows = self.joined and self._resources.evaluators is None
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
                evaluator.task = task = self.queue.take(evaluator.node or "")
                if task is None:
                    ray.kill(evaluator.actor)
                else:
                    self.busy[evaluator.actor.evaluate.remote(task, self._shared[task.what])] = evaluator
        finally:
            for evaluator in self.busy.values():
                ray.kill(evaluator.actor)

    def _start(self) -> None:
        actor = self._actors.remote(self.job.store, self.job.data, self._resources)
        self.busy[actor.node.remote()] = _Evaluator(actor)

    def _died(self, evaluator: _Evaluator, error: RayError) -> Iterator[tuple[Task, WorkEnd]]:
        """Replace a dead evaluator, and queue its task again if the task has tries left."""
        ray.kill(evaluator.actor)  # it may live on, out of reach
        node_is_lost = loss_of(evaluator.node, evaluator.there_before)
        task = evaluator.task
        if task is None:
            self.failed_starts += not node_is_lost()
            if self.failed_starts > self._resources.retries:
                while not self.busy and (task := self.queue.take("")) is not None:  # none is at work
                    yield task, WorkEnd(Outcome.CRASHED, f"no evaluator could start ({one_line(error)})")
                return
        elif self.queue.take_back(task, node_is_lost):
            say("evaluate", f"{task.model.model_id}: its process died; trying again")
        else:
            yield task, WorkEnd(Outcome.CRASHED, "its process died, and no retries are left")
        if self.queue:
            self._start()


def _options(resources: ResourcesConfig) -> dict[str, Any]:
    """Ray's options of one evaluator."""
    return {"num_cpus": resources.cpus_per_evaluator, "num_gpus": resources.gpus_per_evaluator}


class Evaluator:
    """A Ray actor: does tasks of the stage evaluate in its own worker process."""

    def __init__(self, store: Store, data: DatasetFacts, resources: ResourcesConfig) -> None:
        self._work: dict[What, Work] = {}
        self._runner = TaskRunner(store, data, resources.data_directory, start_evaluator(resources))

    def node(self) -> str:
        """Its node; the answer shows that it has started."""
        return this_node()

    def evaluate(self, task: Task, reference: list[ray.ObjectRef]) -> WorkEnd:
        """Do a task. The list keeps Ray from resolving `reference`; the evaluator fetches the work itself, once."""
        if task.what not in self._work:
            self._work[task.what] = ray.get(reference[0])  # if that fails, another evaluator may manage
        return self._runner.do(task, self._work[task.what])


def draw_on_worker(sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> None:
    """Draw planes in a worker process; see `Workers.draw`."""
    drawing = ray.remote(_draw).options(**_options(sweep.resources), max_retries=sweep.resources.retries)
    error = ray.get(drawing.remote(sweep, store, plane_set, attacked))
    if error is not None:
        raise error


def _draw(sweep: SweepConfig, store: Store, plane_set: str, attacked: ModelConfig) -> Exception | None:
    """Draw the planes; returns the error if that fails."""
    device = start_evaluator(sweep.resources)
    try:
        draw_planes(sweep, store, plane_set, attacked, device)
    except (UserError, DamagedFileError, StorageError) as error:
        return error
    return None
