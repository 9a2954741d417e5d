"""The fastest number of members to compute as one network. It is measured: no rule holds on every machine."""

import math
import statistics
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import torch

from dbviz_ray.training.gradients import IMAGES, Batch
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.states import kept
from dbviz_ray.training.verification import StepsDifferError

ROUNDS = 5
ENOUGH_SECONDS = 0.02
"""Shortest time of a round; below it, timers and noise would decide."""
PREFERENCE = 0.97
"""A smaller stack must be faster by this factor, so that noise does not decide."""


def fastest_stack(network: CohortNetwork, batch: Batch) -> int:
    """Find the fastest number of members to compute together for batches like `batch`, and set `network` to it.

    Of at least two members. Stacks are halved while that is faster. Then the best ones and single members are measured
    in turn. A stack that does not fit into memory, or does not do what ordinary modules do, is not chosen. The buffers
    do not change. torch.OutOfMemoryError or StepsDifferError if not even one member alone can be computed.
    """
    with kept(network.buffers):
        network.restack(_measured(network, batch))
    return network.stack


def _measured(network: CohortNetwork, batch: Batch) -> int:
    rough: dict[int, float] = {}
    stack = network.members
    while stack > 1:
        network.stack = stack
        try:
            network.prepare(batch)
            rough[stack] = _seconds(network, batch, 1)
        except (torch.OutOfMemoryError, StepsDifferError):
            network.restack(1)
        else:
            if rough[stack] > 1.1 * min(rough.values()):
                rough.pop(stack)
                break
        stack = math.ceil(stack / 2)
    finalists = sorted(rough, key=rough.__getitem__)[:2]
    stacks = sorted({*finalists, max(rough, default=1), 1}, reverse=True)
    try:
        return _fastest(network, batch, stacks)
    except torch.OutOfMemoryError:  # the captured steps of one leave too little memory for another
        if not rough:
            raise
        return finalists[0]


def _fastest(network: CohortNetwork, batch: Batch, stacks: Sequence[int]) -> int:
    """The stack with the smallest median time of a step; a larger one if the gain is small."""
    steps: dict[int, int] = {}
    for stack in stacks:
        network.stack = stack
        with suppress(StepsDifferError) if steps else nullcontext():
            network.prepare(batch)
            steps[stack] = max(1, math.ceil(ENOUGH_SECONDS / _seconds(network, batch, 1)))
    seconds: dict[int, list[float]] = {stack: [] for stack in steps}
    for _ in range(ROUNDS):
        for stack, count in steps.items():
            network.stack = stack
            seconds[stack].append(_seconds(network, batch, count))
    median = {stack: statistics.median(times) for stack, times in seconds.items()}
    best = next(iter(steps))
    for stack in steps:
        if median[stack] < PREFERENCE * median[best]:
            best = stack
    return best


def _seconds(network: CohortNetwork, batch: Batch, steps: int) -> float:
    """Mean seconds of a step."""
    wait = torch.cuda.synchronize if batch[IMAGES].is_cuda else lambda: None
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        network.backward(batch)
    wait()
    return (time.perf_counter() - started) / steps
