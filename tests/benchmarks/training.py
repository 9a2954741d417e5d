"""How fast are cohorts beside what an expert would write for one network, in models trained at a time and in turn?

    python tests/benchmarks/training.py [--network resnet18_width] [--widths 1,2,4,8,16] [--rounds 5] [--cores N]
        [--out FILE]

The strong loop trains one network: images on the device, channels-last, bfloat16 where the device has it, fused Adam,
eager and compiled (on a GPU with CUDA graphs). A cohort trains 8 networks (4 from width 8 on) as a worker does, with
everything that it measures, compiled steps included. On a CPU each core has one process of one thread, all of them at
work at the same time, with a cohort or a strong loop each; or one strong loop has the threads of all cores. Each trains
1,024 random images of 3 x 32 x 32 (the digits for fully_connected) in batches of 128; a step is the median over rounds,
each of one epoch.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

import torch
from timing import markdown, parser_of, report
from torch import nn
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import DatasetConfig, ModelConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.training import stack_size
from dbviz_ray.training.allocations import WORKER_ENVIRONMENT
from dbviz_ray.training.cohort import CohortTraining

IMAGES, BATCH = 1024, 128


def main() -> None:
    """Print a Markdown table of milliseconds, and append it to `--out`."""
    parser = parser_of(__doc__)
    parser.add_argument("--network", default="resnet18_width")
    parser.add_argument("--widths", default="1,2,4,8,16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)
    device, cores = ("cuda", 1) if torch.cuda.is_available() else ("cpu", chosen.cores)
    rows = [row_of(chosen.network, int(width), device, chosen.rounds, cores) for width in chosen.widths.split(",")]
    head = ["width", *(name.replace("loop", "strong") for name in ways(cores)), "how", "speed-up"]
    told = f"Milliseconds of a step for each network, {chosen.network} on {device}; {chosen.rounds} rounds in turn"
    told += f", {cores} processes." if cores > 1 else "."
    report("Cohorts beside a strong loop", [told, markdown(head, rows)], chosen.out)


def ways(cores: int) -> list[str]:
    """What is measured, in turn."""
    together = [f"loop, eager, {cores} threads", f"loop, compiled, {cores} threads"] if cores > 1 else []
    return ["loop, eager", "loop, compiled", *together, "cohort"]


def row_of(network: str, width: int, device: str, rounds: int, cores: int) -> list[str]:
    """The medians of one width."""
    context = torch.multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        shared = (context.Barrier(cores), results, network, width, device, rounds, cores, Path(folder))
        torch.multiprocessing.spawn(work, shared, nprocs=cores)
    median, how = results.get()
    speed_up = min(ms for name, ms in median.items() if name != "cohort") / median["cohort"]
    print(f"width {width}: {speed_up:.2f}", file=sys.stderr, flush=True)
    return [str(width), *(f"{median[name]:.2f}" for name in ways(cores)), how, f"{speed_up:.2f}"]


def work(
    own: int, barrier: Any, results: Any, network: str, width: int, kind: str, rounds: int, cores: int, folder: Path
) -> None:
    """One process; the first one tells the medians."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    stack_size.WORTH_COMPILING = 0.0  # as for a training of hours
    device = torch.device(kind)
    members, precision = 8 if width < 8 else 4, "float32" if network == "fully_connected" else "bfloat16"
    grid = [f"grid.width=[{width}]", f"grid.seed={list(range(members))}", "grid.label_noise=[0.2]"]
    settings = {"epochs": 100_000, "evaluate_every": 100_000, "batch_size": BATCH, "precision": precision}
    training = [f"training.{name}={value}" for name, value in settings.items()]
    sweep = load_sweep(
        "double_descent", [*grid, *training, f"grid.architecture=[{network}]", "training.augmentation=none"]
    )
    models, data = sweep.models(), images_of(network)
    epochs: dict[str, Callable[[], None]] = {}
    for turn in range(cores):  # the first one chooses how, and the others find what it has compiled
        if turn == own:
            cohort = CohortTraining(models, data, device, choices=folder)
            for name in ways(cores):
                if own == 0 or "threads" not in name:
                    loop = strong_loop(models[0], data, device, compiles="compiled" in name)
                    epochs[name] = cohort.run_epoch if name == "cohort" else loop
                    run(name, epochs, cores)
        barrier.wait()
    times: dict[str, list[float]] = {name: [] for name in ways(cores)}
    steps = -(-len(data.train_labels) // BATCH)
    for _ in range(rounds):
        for name, of in times.items():
            barrier.wait()
            began = time.perf_counter()
            run(name, epochs, cores)
            barrier.wait()
            networks = (members if name == "cohort" else 1) * (1 if "threads" in name else cores)
            of.append(1000 * (time.perf_counter() - began) / steps / networks)
    if own == 0:
        manner = cohort.network.manner
        how = f"stack {manner.stack}" + ", compiled" * manner.compiled + f", {manner.channels} channels"
        results.put(({name: statistics.median(of) for name, of in times.items()}, how))


def run(name: str, epochs: dict[str, Callable[[], None]], cores: int) -> None:
    """One epoch, in processes that have this way."""
    if name in epochs:
        torch.set_num_threads(cores if "threads" in name else 1)
        epochs[name]()
        if torch.cuda.is_available():
            torch.cuda.synchronize()


def images_of(network: str) -> Dataset:
    """Random images as of CIFAR-10, or the digits."""
    if network == "fully_connected":
        return load_dataset(DatasetConfig(name="digits"), "unused")
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(IMAGES) % 10
    names = tuple(map(str, range(10)))
    return Dataset(images, labels, images[:BATCH], labels[:BATCH], names, (0.5,) * 3, (0.25,) * 3)


def strong_loop(model: ModelConfig, data: Dataset, device: torch.device, *, compiles: bool) -> Callable[[], None]:
    """One epoch of plain PyTorch."""
    shape, classes = data.image_shape, len(data.class_names)
    network = initialised_network(model.architecture, model.width, shape, classes, 0).to(device)
    network = network.to(memory_format=torch.channels_last)
    images = data.normalised(data.train_images.to(device)).float().contiguous(memory_format=torch.channels_last)
    labels, mixed = data.train_labels.to(device), model.training.precision == "bfloat16"
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    forward: nn.Module = torch.compile(network, mode=mode) if compiles else network

    def epoch() -> None:
        network.train()
        for batch in torch.randperm(len(images), device=device).split(BATCH):
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
                loss = F.cross_entropy(forward(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()

    return epoch


if __name__ == "__main__":
    main()
