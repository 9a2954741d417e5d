"""How many members of a cohort are best computed as one network: measured, since no rule holds on every machine."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence

import torch

from dbviz_ray.training.gradients import Batch
from dbviz_ray.training.network import CohortNetwork

ROUNDS = 5
ENOUGH_SECONDS = 0.02
"""Of steps in a round; below it, timers and the machine's noise would decide."""
PREFERENCE = 0.97
"""A smaller stack must be faster by this factor, so that noise alone does not change what is computed."""


def fastest_stack(network: CohortNetwork, batch: Batch) -> int:
    """The number of members that `network` should compute together for batches like `batch`; it is set to it.

    Stacks are halved for as long as that is faster; the best of them and members alone are then measured in turn.
    What does not fit into the memory is not chosen. Batch norm's statistics are as before afterwards.
    Raises torch.OutOfMemoryError if not even one member's step fits.
    """
    before = {name: buffer.clone() for name, buffer in network.buffers.items()}
    rough: dict[int, float] = {}
    for stack in _halved(network.members):
        try:
            network.restack(stack)
            network.backward(batch)  # captures
            rough[stack] = _seconds(network, batch, 1)
        except torch.OutOfMemoryError:
            network.restack(1)
            network.forget_other_stacks()
            continue
        if stack != 1 and rough[stack] > 1.1 * min(rough.values()):
            rough.pop(stack)
            break
    finalists = sorted(rough, key=rough.__getitem__)[:2]
    stacks = sorted({*finalists, max(rough, default=1), 1}, reverse=True)
    try:
        best = _fastest(network, batch, stacks)
    except torch.OutOfMemoryError:  # what is captured for one of them leaves too little for another
        if not rough:
            raise
        best = finalists[0]
    network.restack(best)
    for name, buffer in network.buffers.items():
        buffer.copy_(before[name])
    return best


def _fastest(network: CohortNetwork, batch: Batch, stacks: Sequence[int]) -> int:
    """The stack with the smallest median time of a step, in turn; the largest where little is gained."""
    steps = {}
    for stack in stacks:
        network.restack(stack)
        network.backward(batch)
        steps[stack] = max(1, math.ceil(ENOUGH_SECONDS / _seconds(network, batch, 1)))
    seconds: dict[int, list[float]] = {stack: [] for stack in stacks}
    for _ in range(ROUNDS):
        for stack, count in steps.items():
            network.restack(stack)
            seconds[stack].append(_seconds(network, batch, count))
    median = {stack: statistics.median(times) for stack, times in seconds.items()}
    best = stacks[0]
    for stack in stacks[1:]:
        if median[stack] < PREFERENCE * median[best]:
            best = stack
    return best


def _halved(members: int) -> list[int]:
    """members, half of them, ..., 2, without the repetition of a size."""
    sizes = []
    while members > 1:
        sizes.append(members)
        members = math.ceil(members / 2)
    return sizes or [1]


def _seconds(network: CohortNetwork, batch: Batch, steps: int) -> float:
    """Seconds a step."""
    _wait(batch)
    started = time.perf_counter()
    for _ in range(steps):
        network.backward(batch)
    _wait(batch)
    return (time.perf_counter() - started) / steps


def _wait(batch: Batch) -> None:
    if next(iter(batch.values())).is_cuda:
        torch.cuda.synchronize()
