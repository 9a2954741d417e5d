"""Decides which cohort or task comes next and which is tried again; knows neither Ray nor files."""

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set

from dbviz_ray.config import Cohort, SweepConfig
from dbviz_ray.evaluation.work import Task
from dbviz_ray.store.models import Failure, Outcome

NodeIsLost = Callable[[], bool]
"""Whether the machine of a process is lost, as far as is known at the time of the call."""


def cohorts_to_train(sweep: SweepConfig, untrained: Set[str], begun: Mapping[str, Sequence[str]]) -> list[Cohort]:
    """Cohorts that cover all untrained models.

    Cohorts in `begun` (model_ids of the members, by cohort_id) keep their members, however the sweep would group them
    now. Where two share a member, the smaller one continues; it is a half of the larger.
    """
    models = {model.model_id: model for model in sweep.models()}
    taken: set[str] = set()
    cohorts = []
    for names in sorted(begun.values(), key=len):
        if models.keys() >= set(names) and untrained & set(names) and not taken & set(names):
            cohorts.append(Cohort(models=tuple(models[model_id] for model_id in names)))
            taken.update(names)
    rest = untrained - taken
    for cohort in sweep.cohorts():
        members = tuple(model for model in cohort.models if model.model_id in rest)
        if members:
            cohorts.append(cohort if len(members) == len(cohort.models) else Cohort(models=members))
    return cohorts


class CrashBudget:
    """Counts crashes by name; a process that went down with its machine does not count."""

    def __init__(self, retries: int) -> None:
        self._retries = retries
        self._crashes: dict[str, list[NodeIsLost]] = {}

    def allows_another_try(self, name: str, node_is_lost: NodeIsLost) -> bool:
        """Count a crash of `name`; returns whether it may be tried again.

        Each call checks earlier crashes anew, since a machine's loss may become known later than that of its processes.
        """
        crashes = self._crashes.setdefault(name, [])
        crashes.append(node_is_lost)
        crashes[:] = [lost for lost in crashes if not lost()]
        return len(crashes) <= self._retries


class CohortSchedule:
    """Hands out cohorts in order, students after their teachers, and decides which are tried again.

    `trained` are model_ids; `retries` counts how often a cohort is tried again after its process crashed.
    """

    waiting: list[Cohort]
    """The cohorts that have not started, first to start first."""
    failures: dict[str, Failure]
    """Failed models, by model_id."""
    stopped: str | None
    """Why nothing more starts; None while cohorts may start."""

    def __init__(self, cohorts: Iterable[Cohort], trained: Iterable[str], retries: int) -> None:
        self.waiting = list(cohorts)
        self._running: set[str] = set()
        self._settled = set(trained)
        self._budget = CrashBudget(retries)
        self.failures = {}
        self.stopped = None

    @property
    def finished(self) -> bool:
        """Whether no cohort will start any more."""
        return not self._running and (not self.waiting or self.stopped is not None)

    def next(self) -> Cohort | None:
        """The next cohort that can start, or None if there is none now. It counts as running until `ended`."""
        if self.stopped is not None:
            return None
        for cohort in list(self.waiting):
            if not {model.teacher for model in cohort.models} - {None} <= self._settled:
                continue
            self.waiting.remove(cohort)
            ready = self._without_orphans(cohort)
            if ready is not None:
                self._running.add(ready.cohort_id)
                return ready
        return None

    def stop(self, reason: str) -> None:
        """Start nothing more, since it would fail as well."""
        self.stopped = self.stopped or reason

    def ended(
        self, cohort: Cohort, outcome: Outcome, reason: str = "", node_is_lost: NodeIsLost = lambda: False
    ) -> Outcome:
        """Record how a cohort ended; returns the outcome, which is PREEMPTED for a crash with a lost machine."""
        self._running.discard(cohort.cohort_id)
        if outcome is Outcome.CRASHED and node_is_lost():
            outcome = Outcome.PREEMPTED
        if outcome is Outcome.DONE:
            self._settled.update(model.model_id for model in cohort.models)
        elif outcome is Outcome.PREEMPTED or (
            outcome is Outcome.CRASHED and self._budget.allows_another_try(cohort.cohort_id, node_is_lost)
        ):
            self.waiting.insert(0, cohort)
        elif outcome is Outcome.OUT_OF_MEMORY and len(cohort.models) > 1:
            self.waiting[:0] = halves(cohort)
        else:
            for model in cohort.models:
                self._fail(model.model_id, outcome, reason)
        return outcome

    def _without_orphans(self, cohort: Cohort) -> Cohort | None:
        """The cohort without the members whose teachers failed; these fail as well. None if no member is left."""
        orphans = [model for model in cohort.models if model.teacher in self.failures]
        for model in orphans:
            self._fail(model.model_id, Outcome.FAILED, f"its teacher {model.teacher} could not be trained")
        if not orphans:
            return cohort
        rest = tuple(model for model in cohort.models if model not in orphans)
        return Cohort(models=rest) if rest else None

    def _fail(self, model_id: str, outcome: Outcome, reason: str) -> None:
        self.failures[model_id] = Failure(model_id, "train", outcome, reason)
        self._settled.add(model_id)


def halves(cohort: Cohort) -> list[Cohort]:
    """The two halves of a cohort that does not fit into memory."""
    middle = (len(cohort.models) + 1) // 2
    return [Cohort(models=cohort.models[:middle]), Cohort(models=cohort.models[middle:])]


class TaskQueue:
    """Waiting tasks, first to start first.

    `trained_on` gives the node that trained a model, by model_id, where known; its cache probably holds the weights.
    """

    def __init__(self, tasks: Sequence[Task], trained_on: Mapping[str, str], retries: int) -> None:
        self._budget = CrashBudget(retries)
        self._waiting = {_key(task): task for task in tasks}
        # A task stands in `_order` and perhaps in `_by_node`; `_waiting` tells which are already taken.
        self._order = deque(self._waiting)
        self._by_node: dict[str, deque[Hashable]] = {}
        for key, task in self._waiting.items():
            node = trained_on.get(task.model.model_id)
            if node is not None:
                self._by_node.setdefault(node, deque()).append(key)

    def __len__(self) -> int:
        return len(self._waiting)

    def take(self, node: str) -> Task | None:
        """The next task for an evaluator on `node`; None if no task waits."""
        for keys in (self._by_node.get(node, deque()), self._order):
            while keys:
                task = self._waiting.pop(keys.popleft(), None)
                if task is not None:
                    return task
        return None

    def take_back(self, task: Task, node_is_lost: NodeIsLost) -> bool:
        """Queue a task again after its evaluator died; returns whether it had tries left."""
        if not self._budget.allows_another_try(repr(_key(task)), node_is_lost):
            return False
        self._waiting[_key(task)] = task
        self._order.appendleft(_key(task))
        return True


def _key(task: Task) -> Hashable:
    return task.what, task.model.model_id, task.epoch
