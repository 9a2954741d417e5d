"""Which task an evaluator does next: one on a model that was trained on its own machine, where there is one."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping, Sequence

from dbviz_ray.schedule import CrashBudget, NodeIsLost
from dbviz_ray.tasks import Task


class TaskQueue:
    """Tasks that wait, in the order in which they should start.

    Args:
        tasks: What is to be done.
        trained_on: The node on which a model was trained, by model_id, where it is known: its weights are likely to be
            in a cache there.
        retries: Tries after the first of a task over which an evaluator's process died alone.
    """

    def __init__(self, tasks: Sequence[Task], trained_on: Mapping[str, str], retries: int) -> None:
        self._budget = CrashBudget(retries)
        self._waiting = {_key(task): task for task in tasks}
        # A task stands in both; what has been taken from one is passed over in the other.
        self._order = deque(self._waiting)
        self._by_node: dict[str, deque[Hashable]] = {}
        for key, task in self._waiting.items():
            node = trained_on.get(task.model.model_id)
            if node is not None:
                self._by_node.setdefault(node, deque()).append(key)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, node: str) -> Task | None:
        """The next task for an evaluator on `node`; None if none waits."""
        for keys in (self._by_node.get(node, deque()), self._order):
            while keys:
                task = self._waiting.pop(keys.popleft(), None)
                if task is not None:
                    return task
        return None

    def take_back(self, task: Task, node_is_lost: NodeIsLost) -> bool:
        """Let a task over which an evaluator died wait again, if it has tries left; returns whether it has."""
        if not node_is_lost() and not self._budget.allows_another_try(repr(_key(task)), node_is_lost):
            return False
        self._waiting[_key(task)] = task
        self._order.appendleft(_key(task))
        return True


def _key(task: Task) -> Hashable:
    return task.what, task.model.model_id, task.epoch
