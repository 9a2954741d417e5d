from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbviz_ray.planning.makespan import Job, ideal_makespan, longest_chain, makespan

WORKERS = st.integers(1, 6)
INDEPENDENT = st.lists(st.integers(0, 9).map(Job), min_size=1, max_size=12)
"""Whole seconds, so that sums are exact and many jobs end at one time."""


@st.composite
def waiting_jobs(draw: st.DrawFn) -> list[Job]:
    """Jobs that wait for up to two others, which may stand before or behind them in the list."""
    seconds = draw(st.lists(st.integers(0, 9), min_size=1, max_size=9))
    places = draw(st.permutations(range(len(seconds))))
    jobs = [Job(0)] * len(seconds)
    for done, place in enumerate(places):
        after = draw(st.sets(st.sampled_from(places[:done]), max_size=2)) if done else set()
        jobs[place] = Job(seconds[place], tuple(after))
    return jobs


def second_by_second(jobs: list[Job], workers: int) -> int:
    """The same rule in the plainest way: whole seconds, one after another."""
    ends: dict[int, float] = {}
    now = 0
    while True:
        done = {place for place, end in ends.items() if end <= now}
        if len(done) == len(jobs):
            return now
        waiting = [place for place in range(len(jobs)) if place not in ends and done.issuperset(jobs[place].after)]
        started = waiting[: workers - (len(ends) - len(done))]
        ends |= {place: now + jobs[place].seconds for place in started}
        if not any(jobs[place].seconds == 0 for place in started):
            now += 1


def best_of_all(jobs: list[Job], workers: int) -> float:
    """The shortest schedule of jobs that wait for none: every assignment to workers is tried."""
    return min(
        max(sum(job.seconds for job, on in zip(jobs, choice, strict=True) if on == worker) for worker in range(workers))
        for choice in product(range(workers), repeat=len(jobs))
    )


@given(waiting_jobs(), WORKERS)
def test_it_equals_a_simulation_second_by_second(jobs, workers):
    assert makespan(jobs, workers) == second_by_second(jobs, workers)


@given(waiting_jobs(), WORKERS)
def test_it_lies_between_the_ideal_and_grahams_bound(jobs, workers):
    ideal = ideal_makespan(jobs, workers)
    assert ideal <= makespan(jobs, workers) + 1e-9
    assert makespan(jobs, workers) <= (2 - 1 / workers) * ideal + 1e-9


@given(waiting_jobs())
def test_one_worker_does_all_one_after_another(jobs):
    assert makespan(jobs, 1) == ideal_makespan(jobs, 1) == sum(job.seconds for job in jobs)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 3))
def test_the_longest_first_are_near_the_best_schedule(seconds, workers):
    jobs = [Job(length) for length in sorted(seconds, reverse=True)]
    best = best_of_all(jobs, workers)
    assert ideal_makespan(jobs, workers) <= best + 1e-9
    assert best <= makespan(jobs, workers) <= (4 / 3 - 1 / (3 * workers)) * best + 1e-9


@given(INDEPENDENT, st.integers(0, 11), st.integers(0, 9), WORKERS)
def test_longer_jobs_and_fewer_workers_never_end_earlier(jobs, place, more, workers):
    longer = [Job(job.seconds + more * (index == place)) for index, job in enumerate(jobs)]
    assert makespan(longer, workers) >= makespan(jobs, workers) >= makespan(jobs, workers + 1)


def test_by_hand():
    jobs = [Job(3), Job(3), Job(2), Job(2), Job(2)]
    assert [makespan(jobs, workers) for workers in (1, 2, 3, 5)] == [12, 7, 5, 3]
    assert [ideal_makespan(jobs, workers) for workers in (1, 2, 3, 5)] == [12, 6, 4, 3]


def test_students_wait_for_their_teachers_and_others_go_first():
    student, teacher, other = Job(5, after=(1,)), Job(2), Job(4)
    assert makespan([student, teacher, other], 1) == 11
    assert makespan([student, teacher, other], 2) == 7
    assert longest_chain([student, teacher, other]) == 7


def test_nothing_takes_no_time_and_circles_are_refused():
    assert makespan([], 3) == longest_chain([]) == 0
    with pytest.raises(ValueError, match=r"2 of 3 wait for each other"):
        makespan([Job(1), Job(1, after=(2,)), Job(1, after=(1,))], 2)
