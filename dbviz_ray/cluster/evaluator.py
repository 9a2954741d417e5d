"""What a Ray actor does in its worker: tasks of the stage evaluate, one after another."""

from __future__ import annotations

from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from dbviz_ray.cluster.nodes import this_node
from dbviz_ray.cluster.session import start_worker
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.errors import DamagedFileError, StorageError, one_line
from dbviz_ray.evaluation.records import load_network
from dbviz_ray.evaluation.tasks import Task, What
from dbviz_ray.evaluation.work import Work
from dbviz_ray.store import Store
from dbviz_ray.store.outcomes import CUDA_ERROR, Outcome, outcome_of


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
