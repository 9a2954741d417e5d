"""When the last of some jobs is done on a number of workers, and when it would be at best: a simulation, pure numbers.

The rule is that of a sweep's training: a worker that is free takes the first job in their order that waits for no other
(`dbviz_ray.schedule`). However the order, it ends within (2 - 1/workers) times the ideal (Graham, SIAM J. Appl. Math.
17(2), 1969, for jobs that wait for others too); the longest first and none waiting, within (4/3 - 1/(3 workers)) times
the best schedule there is.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """What one worker does without a break."""

    seconds: float
    after: tuple[int, ...] = ()
    """Places of the jobs that must be done before it starts, each once."""


def makespan(jobs: Sequence[Job], workers: int) -> float:
    """Seconds from the start of the first to the end of the last job. ValueError if jobs wait for each other."""
    waits_for = [len(job.after) for job in jobs]
    frees: list[list[int]] = [[] for _ in jobs]
    for place, job in enumerate(jobs):
        for earlier in job.after:
            frees[earlier].append(place)
    ready = [place for place, count in enumerate(waits_for) if not count]  # ascending, and so a heap
    running: list[tuple[float, int]] = []
    now, done = 0.0, 0
    while ready or running:
        while ready and len(running) < workers:
            place = heapq.heappop(ready)
            heapq.heappush(running, (now + jobs[place].seconds, place))
        now = running[0][0]
        while running and running[0][0] == now:
            _, place = heapq.heappop(running)
            done += 1
            for later in frees[place]:
                waits_for[later] -= 1
                if not waits_for[later]:
                    heapq.heappush(ready, later)
    if done < len(jobs):
        raise ValueError(f"jobs: {len(jobs) - done} of {len(jobs)} wait for each other; allowed: no circles")
    return now


def ideal_makespan(jobs: Sequence[Job], workers: int) -> float:
    """What no schedule can beat: the work in equal shares, or the longest chain of jobs that wait for each other."""
    return max(sum(job.seconds for job in jobs) / workers, longest_chain(jobs))


def longest_chain(jobs: Sequence[Job]) -> float:
    """Seconds on as many workers as there are jobs: of the longest job, with those it waits for one after another."""
    return makespan(jobs, max(1, len(jobs)))
