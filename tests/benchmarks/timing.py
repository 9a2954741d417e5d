"""Alternating measurements within one run: on a shared machine only ratios mean something."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

import torch

from dbviz_ray.cluster.session import WORKER_ENVIRONMENT


def alternating(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of each piece of work, done in turn after one round of warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 1):
        for name, do in work.items():
            started = time.perf_counter()
            do()
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(slower: list[float], faster: list[float]) -> tuple[float, float, float]:
    """Median, smallest and largest ratio of two pieces of work, round by round."""
    ratios = [a / b for a, b in zip(slower, faster, strict=True)]
    return statistics.median(ratios), min(ratios), max(ratios)


def as_a_worker() -> None:
    """Start this script again with the memory settings that Ray workers get, unless it has them."""
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
