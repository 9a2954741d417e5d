"""Trainings by a user's own command: as trials of Ray Tune, or, without Ray, by threads of this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from dbviz_ray.cluster import ALONE
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.scripts.recipe import Trial
from dbviz_ray.scripts.running import Ended, run
from dbviz_ray.terminal import interruption

GIB = 1024**3
Hear = Callable[[Trial, Ended | str], None]
"""Hears of every training how it ended, or why it did not."""


def run_trials(
    trials: Sequence[Trial], room: dict[str, float], retries: int, address: str | None, verbose: bool, hear: Hear
) -> None:
    """Run the trainings, as many at a time as there is `room` for each: CPU, GPU, and memory in bytes."""
    if address == ALONE:
        _run_in_threads(trials, max(1, int((os.cpu_count() or 1) / max(room["CPU"], 1))), retries, hear)
        return
    from dbviz_ray.cluster.session import ray_session

    resources = ResourcesConfig(
        cpus_per_cohort=max(1, int(room["CPU"])), gpus_per_cohort=room["GPU"], gpus_per_evaluator=0
    )
    with ray_session(address, resources, verbose):
        from dbviz_ray.cluster.command_trials import run_in_trials

        run_in_trials(trials, room, retries, hear)


def _run_in_threads(trials: Sequence[Trial], together: int, retries: int, hear: Hear) -> None:
    with ThreadPoolExecutor(together) as pool:
        waiting: dict[Future[Ended], Trial] = {
            pool.submit(run, one, retries, interruption.check): one for one in trials
        }
        try:
            while waiting:
                interruption.check()
                for future in wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED).done:
                    hear(waiting.pop(future), future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
