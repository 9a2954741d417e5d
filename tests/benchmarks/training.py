"""How fast are cohorts beside what an expert would write for one network, in models trained at a time and in turn?

    python tests/benchmarks/training.py [--network resnet18_width] [--widths 1,2,4,8,16] [--rounds 5] [--cores N]
        [--images N] [--out FILE]

The strong loop trains one network: images on the device, channels-last, bfloat16 where the device has it, fused Adam,
eager and compiled (on a GPU with CUDA graphs). A cohort trains 8 networks (4 from width 8 on) as a worker does, with
everything that it measures, compiled steps included. On a CPU each core has one process of one thread, all of them at
work at the same time, with a cohort or a strong loop each; or one strong loop has the threads of all cores. Each trains
random images of 3 x 32 x 32 (1,024, on a GPU 25,600; the digits for fully_connected) in batches of 128; a step is the
median over rounds, each of one epoch.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timing import BATCH, DEVICE, IMAGES, cohort_of, in_turn, markdown, parser_of, report, synchronised
from torch import nn
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.training import stack_size
from dbviz_ray.training.allocations import WORKER_ENVIRONMENT
from dbviz_ray.training.cohort import CohortTraining


def main() -> None:
    """Print a Markdown table of milliseconds, and append it to `--out`."""
    options = {"network": "resnet18_width", "widths": [1, 2, 4, 8, 16], "rounds": 5, "images": IMAGES}
    chosen = parser_of(__doc__, **options, cores=os.cpu_count() or 1).parse_args()
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)
    cores = 1 if DEVICE.type == "cuda" else chosen.cores
    rows = [row_of(width, cores, (chosen.network, chosen.images, chosen.rounds)) for width in chosen.widths]
    head = ["width", *(name.replace("loop", "strong") for name in ways(cores)), "how", "speed-up"]
    told = f"Milliseconds of a step for each network, {chosen.network} on {DEVICE}; {chosen.rounds} rounds in turn"
    told += f", {cores} processes." if cores > 1 else "."
    report("Cohorts beside a strong loop", [told, markdown(head, rows)], chosen.out)


def ways(cores: int) -> list[str]:
    """What is measured, in turn."""
    together = [f"loop, eager, {cores} threads", f"loop, compiled, {cores} threads"] if cores > 1 else []
    return ["loop, eager", "loop, compiled", *together, "cohort"]


def row_of(width: int, cores: int, chosen: tuple[str, int, int]) -> list[str]:
    """The medians of one width."""
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        shared = (context.Barrier(cores), results, width, cores, Path(folder), *chosen)
        torch.multiprocessing.spawn(work, shared, nprocs=cores)
    milliseconds, how = results.get()
    speed_up = min(ms for name, ms in milliseconds.items() if name != "cohort") / milliseconds["cohort"]
    print(f"width {width}: {speed_up:.2f}", file=sys.stderr, flush=True)
    return [str(width), *(f"{milliseconds[name]:.2f}" for name in ways(cores)), how, f"{speed_up:.2f}"]


def work(
    own: int, barrier: Any, results: Any, width: int, cores: int, folder: Path, network: str, images: int, rounds: int
) -> None:
    """One process; the first one tells the milliseconds of a step for each network."""
    torch.set_flush_denormal(True)
    stack_size.WORTH_COMPILING = 0.0  # as for a training of hours
    members = 8 if width < 8 else 4
    epochs: dict[str, Callable[[], None]] = {name: lambda: None for name in ways(cores)}
    torch.set_num_threads(1)
    for turn in range(cores):  # the first one chooses how, and the others find what it has compiled
        if turn == own:
            cohort = cohort_of(network, width, members, images, choices=folder)
            for name in epochs:
                threads = cores if "threads" in name else 1
                if own == 0 or threads == 1:
                    loop = cohort.run_epoch if name == "cohort" else strong_loop(cohort, compiles="compiled" in name)
                    epochs[name] = partial(run, loop, threads)
                    epochs[name]()
        barrier.wait()
    median = in_turn(epochs, rounds, barrier.wait)
    if own == 0:
        steps, manner = -(-len(cohort.dataset.train_labels) // BATCH), cohort.network.manner
        networks = {name: (members if name == "cohort" else 1) * (1 if "threads" in name else cores) for name in epochs}
        how = f"stack {manner.stack}" + ", compiled" * manner.compiled + f", {manner.channels} channels"
        results.put(({name: 1000 * took / steps / networks[name] for name, took in median.items()}, how))


def run(epoch: Callable[[], None], threads: int) -> None:
    """One epoch."""
    torch.set_num_threads(threads)
    synchronised(epoch)


def strong_loop(cohort: CohortTraining, *, compiles: bool) -> Callable[[], None]:
    """One epoch of plain PyTorch."""
    model, data = cohort.models[0], cohort.dataset
    shape, classes = data.image_shape, len(data.class_names)
    network = initialised_network(model.architecture, model.width, shape, classes, 0).to(DEVICE)
    network = network.to(memory_format=torch.channels_last)
    images = data.normalised(data.train_images.to(DEVICE)).float().contiguous(memory_format=torch.channels_last)
    labels, mixed = data.train_labels.to(DEVICE), model.training.precision == "bfloat16"
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    mode = "reduce-overhead" if DEVICE.type == "cuda" else "default"
    forward: nn.Module = torch.compile(network, mode=mode) if compiles else network

    def epoch() -> None:
        network.train()
        for batch in torch.randperm(len(images), device=DEVICE).split(BATCH):
            optimizer.zero_grad()
            with torch.autocast(DEVICE.type, torch.bfloat16, enabled=mixed):
                loss = F.cross_entropy(forward(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()

    return epoch


if __name__ == "__main__":
    main()
