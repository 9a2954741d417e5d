from __future__ import annotations

import pytest
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray.cluster.schedule import TaskQueue
from dbviz_ray.evaluation.tasks import LabelPlanes, Task

MODELS = small_sweep().models()
TASKS = [Task(LabelPlanes(name), model, 3) for name in ("test", "train") for model in MODELS]


def drained(queue, node="anywhere"):
    tasks = []
    while (task := queue.take(node)) is not None:
        tasks.append(task)
    return tasks


def test_tasks_are_taken_once_in_their_order():
    queue = TaskQueue(TASKS, {}, retries=0)
    assert len(queue) == len(TASKS)
    assert drained(queue) == TASKS
    assert len(queue) == 0


def test_a_node_does_first_what_it_trained_and_then_what_is_there():
    near = {model.model_id: "a" for model in MODELS[3:5]} | {MODELS[0].model_id: "b"}
    queue = TaskQueue(TASKS, near, retries=0)
    of_a = [task for task in TASKS if task.model in MODELS[3:5]]
    assert [queue.take("a") for _ in of_a] == of_a
    assert queue.take("a") == TASKS[0], "rather another node's than none"
    assert queue.take("b") == TASKS[len(MODELS)], "its own second one"
    assert drained(queue, "c") == [t for t in TASKS if t not in [*of_a, TASKS[0], TASKS[len(MODELS)]]]


@given(places=st.lists(st.sampled_from(["a", "b", None]), min_size=len(MODELS), max_size=len(MODELS)),
       takers=st.lists(st.sampled_from(["a", "b", "c"]), min_size=len(TASKS), max_size=len(TASKS)))  # fmt: skip
def test_whoever_takes_every_task_is_taken_once(places, takers):
    near = {model.model_id: place for model, place in zip(MODELS, places, strict=True) if place is not None}
    queue = TaskQueue(TASKS, near, retries=0)
    taken = [queue.take(node) for node in takers]
    assert sorted(map(repr, taken)) == sorted(map(repr, TASKS))
    assert queue.take("a") is None


@pytest.mark.parametrize("retries", [0, 2])
def test_a_task_that_kills_evaluators_is_given_up_and_one_whose_machine_went_is_not(retries):
    queue = TaskQueue(TASKS, {}, retries)
    first = queue.take("a")
    for _ in range(20):
        assert queue.take_back(first, lambda: True)
        assert queue.take("a") == first
    for _ in range(retries):
        assert queue.take_back(first, lambda: False)
        assert queue.take("a") == first
    assert not queue.take_back(first, lambda: False)
    assert drained(queue) == TASKS[1:]
