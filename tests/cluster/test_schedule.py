import math
import random

import pytest
import ray
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray.cluster.nodes import room_for
from dbviz_ray.cluster.schedule import CohortSchedule, CrashBudget, TaskQueue, cohorts_to_train, halves
from dbviz_ray.cluster.session import Session
from dbviz_ray.cluster.training import GIB, least_memory, room_of_cohort
from dbviz_ray.config import Cohort, ResourcesConfig
from dbviz_ray.datasets import facts_of_dataset
from dbviz_ray.evaluation.work import Task
from dbviz_ray.planning.memory import memory_need
from dbviz_ray.store.models import Outcome

RECIPES = {"alone": {}, "distilled": {"distillation": {"recipe": "alone"}}}
gone, there = (lambda: True), (lambda: False)
"""What may have become of the machine."""


def ids(cohort):
    return [model.model_id for model in cohort.models]


@pytest.mark.parametrize(
    ("outcome", "retries", "tries"),
    [(Outcome.CRASHED, 0, 0), (Outcome.CRASHED, 3, 3), (Outcome.FAILED, 3, 0), (Outcome.BAD_CONFIGURATION, 3, 0)],
)
def test_a_crashed_cohort_has_a_budget_of_tries_and_an_error_would_recur(sweep, outcome, retries, tries):
    schedule = CohortSchedule(sweep.cohorts(), (), retries)
    first = schedule.next()
    for _ in range(50 * (outcome is Outcome.CRASHED)):
        assert schedule.ended(first, outcome, "it died", gone) is Outcome.PREEMPTED, "it was lost with its machine"
        assert schedule.next() == first
    for _ in range(tries):
        schedule.ended(first, outcome, "it died", there)
        assert schedule.next() == first
    schedule.ended(first, outcome, "it died", there)
    assert set(schedule.failures) == set(ids(first))
    assert {(f.outcome, f.stage, f.reason) for f in schedule.failures.values()} == {(outcome, "train", "it died")}
    assert schedule.next() == sweep.cohorts()[1], "the rest goes on"


def test_a_machine_loss_that_is_noticed_late_costs_no_try():
    budget = CrashBudget(retries=1)
    lost = {"a": False, "b": False}
    assert budget.allows_another_try("x", lambda: lost["a"])
    lost["a"] = True
    assert budget.allows_another_try("x", lambda: lost["b"]), "the first was no crash after all"
    assert not budget.allows_another_try("x", there)
    assert budget.allows_another_try("y", there), "each has a budget of its own"


def test_a_cohort_that_does_not_fit_is_halved_down_to_single_models(sweep):
    schedule = CohortSchedule(sweep.cohorts(), (), retries=1)
    whole = schedule.next()
    schedule.ended(whole, Outcome.OUT_OF_MEMORY, "too large")
    first, second = schedule.next(), schedule.next()
    assert ids(first) + ids(second) == ids(whole)
    assert [first, second] == halves(whole)
    schedule.ended(second, Outcome.DONE)
    schedule.ended(first, Outcome.OUT_OF_MEMORY, "too large")
    while set(ids(part := schedule.next())) <= set(ids(first)):
        schedule.ended(part, Outcome.OUT_OF_MEMORY, "too large")
    assert set(schedule.failures) == set(ids(first))
    assert {failure.outcome for failure in schedule.failures.values()} == {Outcome.OUT_OF_MEMORY}


@pytest.fixture
def teachers_and_students():
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1, 2], "recipes": RECIPES})
    return sorted(sweep.cohorts(), key=lambda cohort: cohort.models[0].teacher is not None)


def test_students_wait_for_their_teachers(teachers_and_students):
    teachers, students = teachers_and_students
    schedule = CohortSchedule([students, teachers], (), retries=0)
    assert schedule.next() == teachers
    assert schedule.next() is None
    assert not schedule.finished
    schedule.ended(teachers, Outcome.DONE)
    assert schedule.next() == students
    assert CohortSchedule([students], ids(teachers), retries=0).next() == students


def test_a_student_fails_with_its_teacher_and_the_others_continue(teachers_and_students):
    teachers, students = teachers_and_students
    lost, *rest = teachers.models
    schedule = CohortSchedule([Cohort(models=(lost,)), Cohort(models=tuple(rest)), students], (), retries=0)
    schedule.ended(schedule.next(), Outcome.FAILED, "broken")
    schedule.ended(schedule.next(), Outcome.DONE)
    remaining = schedule.next()
    assert [model.teacher for model in remaining.models] == [model.model_id for model in rest]
    [orphan] = [model for model in students.models if model.teacher == lost.model_id]
    assert lost.model_id in schedule.failures[orphan.model_id].reason
    schedule.ended(remaining, Outcome.DONE)
    assert schedule.finished


def test_a_stopped_schedule_starts_nothing_and_is_finished_when_nothing_runs(sweep):
    schedule = CohortSchedule(sweep.cohorts(), (), retries=1)
    first = schedule.next()
    schedule.stop("disk is full")
    schedule.stop("disk is still full")
    assert schedule.next() is None
    assert not schedule.finished
    schedule.ended(first, Outcome.DONE)
    assert schedule.finished
    assert schedule.stopped == "disk is full"


@given(seed=st.integers(0, 10**6), retries=st.integers(0, 2))
def test_whatever_happens_every_model_is_trained_or_has_failed(seed, retries):
    sweep = small_sweep(grid={"width": [4], "label_noise": [0.0, 0.2], "seed": [0, 1, 2], "recipes": RECIPES})
    generator = random.Random(seed)
    schedule = CohortSchedule(sweep.cohorts(), (), retries)
    trained: list[str] = []
    running: list[Cohort] = []
    while not schedule.finished:
        if (cohort := schedule.next()) is not None:
            running.append(cohort)
        if running and generator.random() < 0.7:
            cohort = running.pop(generator.randrange(len(running)))
            outcome = generator.choice(list(set(Outcome) - {Outcome.DIVERGED}))
            schedule.ended(cohort, outcome, "because", generator.choice([gone, there]))
            if outcome is Outcome.DONE:
                trained += ids(cohort)
    assert not running
    assert len(set(trained)) == len(trained)
    assert set(trained) | schedule.failures.keys() == {model.model_id for model in sweep.models()}
    assert not set(trained) & schedule.failures.keys()


def test_begun_cohorts_keep_their_members_and_the_sweep_groups_the_rest(sweep):
    narrow, wide = sweep.cohorts()
    untrained = {*ids(narrow), *ids(wide)}
    assert cohorts_to_train(sweep, untrained, {}) == [narrow, wide]
    begun = {"half": ids(narrow)[:3], "whole": ids(narrow), "strange": ["another-sweep's"], "done": ids(wide)[:1]}
    found = cohorts_to_train(sweep, untrained - {ids(wide)[0]}, begun)
    assert [ids(cohort) for cohort in found] == [ids(narrow)[:3], ids(narrow)[3:], ids(wide)[1:]]
    assert cohorts_to_train(sweep, set(ids(narrow)[1:]), {"begun": ids(narrow)}) == [narrow], "one is complete"
    assert cohorts_to_train(sweep, set(), {"begun": ids(narrow)}) == []


MODELS = small_sweep().models()
TASKS = [Task(name, model, 3) for name in ("test", "train") for model in MODELS]


def test_a_node_prefers_models_it_trained():
    near = {model.model_id: "a" for model in MODELS[3:5]} | {MODELS[0].model_id: "b"}
    queue = TaskQueue(TASKS, near, retries=0)
    of_a = [task for task in TASKS if task.model in MODELS[3:5]]
    assert [queue.take("a") for _ in of_a] == of_a
    assert queue.take("a") == TASKS[0], "rather another node's than none"
    assert queue.take("b") == TASKS[len(MODELS)], "its own second one"
    taken = [*of_a, TASKS[0], TASKS[len(MODELS)]]
    assert list(iter(lambda: queue.take("c"), None)) == [task for task in TASKS if task not in taken]


@given(places=st.lists(st.sampled_from(["a", "b", None]), min_size=len(MODELS), max_size=len(MODELS)),
       takers=st.lists(st.sampled_from(["a", "b", "c"]), min_size=len(TASKS), max_size=len(TASKS)))  # fmt: skip
def test_every_task_is_taken_once_whichever_node_asks(places, takers):
    near = {model.model_id: place for model, place in zip(MODELS, places, strict=True) if place is not None}
    queue = TaskQueue(TASKS, near, retries=0)
    taken = [queue.take(node) for node in takers]
    assert sorted(map(repr, taken)) == sorted(map(repr, TASKS))
    assert queue.take("a") is None


@pytest.mark.parametrize("retries", [0, 2])
def test_a_task_that_kills_evaluators_is_given_up_but_not_one_whose_machine_was_lost(retries):
    queue = TaskQueue(TASKS, {}, retries)
    first = queue.take("a")
    for _ in range(20):
        assert queue.take_back(first, gone)
        assert queue.take("a") == first
    for _ in range(retries):
        assert queue.take_back(first, there)
        assert queue.take("a") == first
    assert not queue.take_back(first, there)
    assert list(iter(lambda: queue.take("a"), None)) == TASKS[1:]


CLUSTER = Session(joined=True)
DATA = facts_of_dataset(small_sweep().dataset, "unused")


def cohort_of(architecture, width):
    sweep = small_sweep(grid={"architecture": [architecture], "width": [width], "seed": list(range(8))})
    return sweep.cohorts()[0]


def test_a_cohort_asks_for_cores_and_for_memory_in_few_sizes():
    resources = ResourcesConfig(cpus_per_cohort=3)
    for width in (2, 512):
        room = room_of_cohort(cohort_of("fully_connected", width), DATA, resources, CLUSTER)
        assert room == {"CPU": 3, "memory": 1.5 * GIB}
    cohort = cohort_of("resnet18_width", 64)
    need = memory_need(cohort.models, DATA, resources).host
    assert room_of_cohort(cohort, DATA, resources, CLUSTER)["memory"] == math.ceil(need / GIB) * GIB > 2 * GIB


def test_cohorts_on_one_machine_ask_for_its_cores_share_where_all_fit_into_it(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 5.0, "memory": 9.0 * GIB})
    resources, machine = ResourcesConfig(cpus_per_cohort=2), Session(joined=False)
    small, middle, large = (cohort_of("fully_connected", width) for width in (2, 20_000, 100_000))
    assert 1.5 * GIB < memory_need(middle.models, DATA, resources).host < 4.5 * GIB
    asked = [least_memory(some, DATA, resources, machine) for some in ([small, middle], [small, middle, large])]
    assert asked == [4.5 * GIB, 1.5 * GIB]
    assert room_of_cohort(small, DATA, resources, machine, least=4.5 * GIB)["memory"] == 4.5 * GIB
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 5.0, "memory": 1.0 * GIB})
    assert room_of_cohort(small, DATA, resources, machine)["memory"] == 1.0 * GIB, "no more than the machine has"


@pytest.mark.parametrize(("gpu_memory", "share"), [(None, 0.25), (80, 0.25), (0.001, 1.0)])
def test_cohorts_that_fit_share_a_gpu(gpu_memory, share):
    resources = ResourcesConfig(gpus_per_cohort=0.25, gpu_memory=gpu_memory)
    assert room_of_cohort(cohort_of("fully_connected", 16), DATA, resources, CLUSTER)["GPU"] == share


def test_how_many_evaluators_fit_on_a_machine():
    machines = [{"CPU": 16, "GPU": 2}, {"CPU": 5, "GPU": 2}, {"CPU": 16}]
    assert [room_for({"CPU": 2, "GPU": 0.5}, machine) for machine in machines] == [4, 2, 0]
    assert room_for({"CPU": 1, "GPU": 0}, {"CPU": 3}) == 3
