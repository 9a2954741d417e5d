from __future__ import annotations

import pytest
from conftest import small_sweep

from dbviz_ray.config import SweepConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.planning.cohort_plans import cohort_plans
from dbviz_ray.planning.scaling import Scaling, scaling_text, scalings
from dbviz_ray.planning.step_times import StepTimes

DIGITS = DatasetFacts((1, 8, 8), 10, 200, 100)
BY_OPERATIONS = StepTimes.assumed(flops_rate=1e9, overhead=0)
BY_STEPS = StepTimes.assumed(flops_rate=1e30, overhead=1)


def scaled(sweep: SweepConfig, times: StepTimes) -> list[Scaling]:
    return scalings(sweep, lambda cohorts: cohort_plans(cohorts, DIGITS, times))


def many(**fields: object) -> SweepConfig:
    return small_sweep(grid={"width": [16], "seed": list(range(1024))}, **fields)


def test_many_equal_cohorts_are_shared_evenly():
    sweep = many(resources={"max_cohort_size": 1})
    found = scaled(sweep, BY_OPERATIONS)
    total = sum(plan.seconds for plan in cohort_plans(sweep.cohorts(), DIGITS, BY_OPERATIONS))
    assert [scaling.gpus for scaling in found] == [8, 64, 256]
    assert [scaling.seconds for scaling in found] == pytest.approx([total / gpus for gpus in (8, 64, 256)])
    assert [scaling.ideal for scaling in found] == pytest.approx([scaling.seconds for scaling in found])
    assert [scaling.busy for scaling in found] == pytest.approx([1, 1, 1])
    assert {(scaling.bound, scaling.smaller) for scaling in found} == {(None, None)}


def test_large_cohorts_bound_it_and_smaller_ones_are_tried():
    eight, sixty_four, many_gpus = scaled(many(resources={"max_cohort_size": 64}), BY_OPERATIONS)  # 16 cohorts
    assert (eight.bound, eight.smaller) == (None, None)
    assert eight.seconds == pytest.approx(2 * sixty_four.seconds)
    assert sixty_four.bound == many_gpus.bound == "the cohort fully_connected 16"
    assert sixty_four.busy == pytest.approx(16 / 64)
    assert sixty_four.smaller.max_cohort_size == 16
    assert many_gpus.smaller.max_cohort_size == 4
    assert many_gpus.smaller.seconds == pytest.approx(many_gpus.seconds / 16)
    assert many_gpus.smaller.total_seconds == pytest.approx(8 * eight.seconds)


def test_where_a_step_costs_the_same_whatever_its_members_smaller_cohorts_are_of_no_use():
    found = scaled(many(resources={"max_cohort_size": 64}), BY_STEPS)
    assert found[-1].bound is not None
    assert [scaling.smaller for scaling in found] == [None, None, None]


def test_students_wait_for_their_teachers():
    recipes = {"alone": {}, "student": {"distillation": {"recipe": "alone"}}}
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1], "recipes": recipes})
    student, teacher = cohort_plans(sweep.cohorts(), DIGITS, BY_STEPS)
    assert (student.name, student.after) == ("fully_connected 4 student", (1,))
    assert (teacher.name, teacher.after) == ("fully_connected 4 alone", ())
    found = scaled(sweep, BY_STEPS)
    assert {scaling.seconds for scaling in found} == {student.seconds + teacher.seconds}
    assert {scaling.bound for scaling in found} == {"a cohort of teachers and then their students"}


def test_cohorts_that_take_several_gpus_leave_room_for_fewer():
    one, four = (scaled(many(resources={"gpus_per_cohort": gpus, "max_cohort_size": 1}), BY_STEPS) for gpus in (1, 4))
    assert [scaling.seconds for scaling in four] == pytest.approx([4 * scaling.seconds for scaling in one])
    half = scaled(many(resources={"gpus_per_cohort": 0.5, "max_cohort_size": 1}), BY_STEPS)
    assert [scaling.seconds for scaling in half] == [scaling.seconds for scaling in one]


def test_the_table_says_what_keeps_gpus_idle():
    head, eight, sixty_four, many_gpus, bound = scaling_text(
        scaled(many(resources={"max_cohort_size": 64}), BY_OPERATIONS)
    ).splitlines()
    assert head.split() == ["GPUs", "training", "ideal", "beyond", "it", "GPUs", "busy"]
    assert eight.split()[0] == "8"
    assert eight.endswith("100%")
    assert "if max_cohort_size=16, for " in sixty_four
    assert "if max_cohort_size=4, for " in many_gpus
    assert bound.strip() == "from 64 GPUs on it is no shorter than the cohort fully_connected 16"
