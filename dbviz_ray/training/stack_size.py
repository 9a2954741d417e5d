"""How a cohort is computed fastest: as networks of how many members, compiled or not, with shared groups or not.

It is measured: no rule holds on every machine. A machine may remember it, since another stack rounds differently.
"""

import json
import math
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import asdict
from pathlib import Path

import torch

from dbviz_ray.config.model import fingerprint
from dbviz_ray.training.execution import Eager, Part
from dbviz_ray.training.gradients import IMAGES, Batch
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.states import Manner, kept
from dbviz_ray.training.verification import StepsDifferError

ROUNDS = 5
ENOUGH_SECONDS = 0.02
"""Shortest time of a round; below it, timers and noise would decide."""
PREFERENCE = 0.97
"""A smaller stack, or the compiled step, must be faster by this factor, so that noise does not decide."""
GPU_CHANNELS, CPU_CHANNELS = (32, 64, 128), (8, 16)
"""The channels of shared groups that are tried. Measured for stacks of 8 on CPUs in bfloat16: with AMX, 16 channels
make convolutions of width 2 four times faster, those of width 4 two times. With AVX-512 alone (EPYC), 8 channels
make a step of width 1 1.7 times faster, of width 2 1.8, of width 4 1.2 times, of width 8 no faster (2026-11-29)."""
WORTH_PACKING = 60.0
"""Seconds of training from which on they are tried; each costs a capture."""
HOPELESS = 2.0
"""A stack that is slower by this factor is not measured again."""
WORTH_COMPILING = 20.0
"""Seconds of training for each parameter tensor from which on the step is also compiled to see if it is faster. That
takes 70 to 120 s for a ResNet-18, which has 62, on one core, and saved 11 to 24 % of a step at widths of 1 to 16
(2026-11-29, Intel Xeon); 10 to 20 s for the 18 of a five-layer CNN, and saved 2 to 15 % (2026-11-30, AMD EPYC)."""


def choose(
    network: CohortNetwork,
    batches: Iterator[Batch],
    steps: int,
    *,
    may_compile: bool,
    key: str,
    folder: Path | None = None,
) -> None:
    """Set `network` to what is fastest for so many steps with batches like the first one.

    If a file in `folder` tells what was chosen for `key` on this kind of machine, that is taken: the first choice
    stays, also if two processes choose at a time.
    """
    machine = [platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.get_num_threads()]
    if torch.cuda.is_available():
        machine.append(torch.cuda.get_device_name())
    file = folder / f"{fingerprint([key, torch.__version__, *machine])}.json" if folder else None
    choice = _remembered(file, network.members)
    if choice is None:
        batch = next(batches)
        if network.members > 1:
            if network.can_pack:
                _pack_as_is_fastest(network, batch, steps)
            fastest_stack(network, batch)
        with kept(network.buffers):
            least = WORTH_COMPILING * len(network.parameters)
            if may_compile and _seconds(network.prepare(batch), batch) * steps > least:
                _compile_if_faster(network, batch)
        choice = network.manner
        if file:
            _remember(file, choice, network.members)
            choice = _remembered(file, network.members) or choice
    network.adopt(choice)


def _remembered(file: Path | None, members: int) -> Manner | None:
    """None without a file, or with a damaged one."""
    with suppress(OSError, ValueError, TypeError):
        choice = Manner(**json.loads(file.read_text())) if file else None
        return choice if choice and 1 <= choice.stack <= members else None
    return None


def _remember(file: Path, choice: Manner, members: int) -> None:
    """Nothing is remembered where the folder cannot be written."""
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent) as draft:
            json.dump(asdict(choice), draft)
            draft.flush()
            if _remembered(file, members) is None:
                file.unlink(missing_ok=True)
            os.link(draft.name, file)


def _pack_as_is_fastest(network: CohortNetwork, batch: Batch, steps: int) -> None:
    """Before the stack is chosen: without shared groups, single members may be the fastest."""
    median: dict[int, float] = {}
    for channels in (0, *(GPU_CHANNELS if network.device.type == "cuda" else CPU_CHANNELS)):
        if channels and median.get(0, math.inf) * steps < WORTH_PACKING:
            break
        network.pack(channels)
        with kept(network.buffers), suppress(torch.OutOfMemoryError, StepsDifferError):
            run = network.prepare(batch)
            seconds = [_seconds(run, batch) for _ in range(ROUNDS)]
            median[channels] = statistics.median(seconds) / (PREFERENCE if channels else 1)
    network.pack(min(median, key=median.__getitem__, default=0))


def _compile_if_faster(network: CohortNetwork, batch: Batch) -> None:
    """Also tries smaller stacks, of which compiled ones are often faster; they are halved while that is so."""
    usual, chosen = network.execution, network.stack
    runs = {(chosen, usual): network.prepare(batch)}
    compiled = usual.but(compiles=True)
    network.execute(compiled)
    stack, slower = 2 * chosen, False
    rough = {}
    while stack > 1 and not slower:
        stack = network.stack = math.ceil(stack / 2)
        with suppress(torch.OutOfMemoryError, StepsDifferError):
            run = runs[stack, compiled] = network.prepare(batch)
            rough[stack] = min(_seconds(run, batch) for _ in range(ROUNDS))
            slower = rough[stack] > 1.05 * min(rough.values())
    times: dict[tuple[int, Eager], list[float]] = {way: [] for way in runs}
    for _ in range(ROUNDS):
        for way, run in runs.items():
            times[way].append(_seconds(run, batch))
    median = {way: statistics.median(seconds) for way, seconds in times.items()}
    best = min(median, key=lambda way: median[way] * (PREFERENCE if way[1] is usual else 1))
    network.restack(best[0])
    if best[1] is usual:
        network.execute(usual)


def fastest_stack(network: CohortNetwork, batch: Batch) -> int:
    """Find the fastest number of members to compute together for batches like `batch`, and set `network` to it.

    Of at least two members. Stacks are halved while that is faster. Then the best ones and single members are measured
    in turn. A stack that does not fit into memory, or does not do what ordinary modules do, is not chosen. The buffers
    do not change. torch.OutOfMemoryError or StepsDifferError if not even one member alone can be computed.
    """
    rough: dict[int, float] = {}
    stack = network.members
    with kept(network.buffers):
        while stack > 1:
            network.stack = stack
            try:
                network.prepare(batch)
                rough[stack] = _seconds(network.backward, batch)
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
            network.restack(_fastest(network, batch, stacks))
        except torch.OutOfMemoryError:  # the captured steps of one leave too little memory for another
            if not rough:
                raise
            network.restack(finalists[0])
    return network.stack


def _fastest(network: CohortNetwork, batch: Batch, stacks: Sequence[int]) -> int:
    """The stack with the smallest median time of a step; a larger one if the gain is small."""
    steps: dict[int, int] = {}
    for stack in stacks:
        network.stack = stack
        with suppress(StepsDifferError) if steps else nullcontext():
            network.prepare(batch)
            steps[stack] = max(1, math.ceil(ENOUGH_SECONDS / _seconds(network.backward, batch)))
    seconds: dict[int, list[float]] = {stack: [] for stack in steps}
    for _ in range(ROUNDS):
        for stack, count in steps.items():
            network.stack = stack
            seconds[stack].append(_seconds(network.backward, batch, count))
        least = min(map(min, seconds.values()))
        steps = {stack: count for stack, count in steps.items() if min(seconds[stack]) < HOPELESS * least}
        if len(steps) == 1:
            break
    median = {stack: statistics.median(times) for stack, times in seconds.items()}
    best = next(iter(median))
    for stack in median:
        if median[stack] < PREFERENCE * median[best]:
            best = stack
    return best


def _seconds(run: Part, batch: Batch, steps: int = 1) -> float:
    """Mean seconds of a step."""
    wait = torch.cuda.synchronize if batch[IMAGES].is_cuda else lambda: None
    wait()
    started = time.perf_counter()
    for _ in range(steps):
        run(batch)
    wait()
    return (time.perf_counter() - started) / steps
