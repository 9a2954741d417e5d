"""How fast is a cohort in each manner of computing it, in turn within one process? For GPUs; a CPU does, too.

    python tests/benchmarks/manners.py [--widths 4,16,64] [--members 8] [--rounds 5] [--images N] [--out FILE]

ResNet-18 on random images of 3 x 32 x 32, bfloat16, batches of 128. Rows: operations one by one, as a CUDA graph,
compiled, with groups of convolutions that members share, with cuDNN's own measurement of algorithms, and single members
on streams side by side. A row that fails says why. Memory is what the row's training holds and needs at most.
"""

import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

import torch
from timing import markdown, parser_of, report

from dbviz_ray.config import ResourcesConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import Dataset
from dbviz_ray.errors import one_line
from dbviz_ray.training.cohort import CohortTraining
from dbviz_ray.training.states import Manner

BATCH = 128
GPU_IMAGES, CPU_IMAGES = 25_600, 256
"""A step's share of an epoch's own work is small with so many."""


def main() -> None:
    """Print a Markdown table of milliseconds a step and member for each width, and append them to `--out`."""
    parser = parser_of(__doc__)
    parser.add_argument("--widths", default="4,16,64")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int)
    chosen = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images = chosen.images or (GPU_IMAGES if device.type == "cuda" else CPU_IMAGES)
    torch.set_num_threads(1)
    for width in map(int, chosen.widths.split(",")):
        rows = rows_of(width, chosen.members, images, device, chosen.rounds)
        head = ["manner", "ms a step and member", "times the first", "GiB", "s until the second epoch"]
        told = f"ResNet-18 of width {width}, {chosen.members} members on {device}, {chosen.rounds} rounds in turn."
        report("Manners of computing a cohort", [told, markdown(head, rows)], chosen.out)


def manners(members: int) -> dict[str, tuple[str, Manner, bool]]:
    """By name: `resources.execution`, manner, and whether cuDNN measures its algorithms."""
    alone, whole = 1, members
    graph = "cuda_graph" if torch.cuda.is_available() else "eager"
    named = {
        "one operation after the other": ("eager", Manner(whole), False),
        "CUDA graph": (graph, Manner(whole), False),
        "CUDA graph, cuDNN measures": (graph, Manner(whole), True),
    }
    for channels in (32, 64, 128):
        named[f"CUDA graph, groups of {channels}"] = (graph, Manner(whole, channels=channels), False)
    for channels in (0, 64):
        shared = f", groups of {channels}" * (channels > 0)
        named[f"compiled CUDA graph{shared}"] = (graph, Manner(whole, True, channels), False)
    named["CUDA graph, members on streams"] = (graph, Manner(alone), False)
    named["compiled CUDA graph, members on streams"] = (graph, Manner(alone, True), False)
    return named


def rows_of(width: int, members: int, images: int, device: torch.device, rounds: int) -> list[list[str]]:
    """One row for each manner."""
    trainings, failed, held = {}, {}, {}
    for name, (execution, manner, measures) in manners(members).items():
        began = time.perf_counter()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if device.type == "cuda" else 0
        try:
            training = training_of(width, members, images, device, execution)
            training.network.adopt(manner)
            with cudnn_measures(measures):
                training.run_epoch()
                seconds(training)
        except Exception as error:
            failed[name] = one_line(error)[:80]
            continue
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else 0
        trainings[name] = training, measures
        held[name] = f"{(peak - before) / 2**30:.2f}", f"{time.perf_counter() - began:.0f}"
    times: dict[str, list[float]] = {name: [] for name in trainings}
    for _ in range(rounds):
        for name, (training, measures) in trainings.items():
            with cudnn_measures(measures):
                times[name].append(1000 * seconds(training) / members / -(-images // BATCH))
    median = {name: statistics.median(of) for name, of in times.items()}
    first = next(iter(median.values()))
    rows = [[name, f"{took:.3f}", f"{first / took:.2f}", *held[name]] for name, took in median.items()]
    return rows + [[name, reason, "", "", ""] for name, reason in failed.items()]


def training_of(width: int, members: int, images: int, device: torch.device, execution: str) -> CohortTraining:
    """A cohort of double_descent on random images."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(images) % 10
    names = tuple(map(str, range(10)))
    data = Dataset(pixels, labels, pixels[:BATCH], labels[:BATCH], names, (0.5,) * 3, (0.25,) * 3)
    grid = [f"grid.width=[{width}]", f"grid.seed={list(range(members))}", "grid.label_noise=[0.2]"]
    training = [f"training.{name}=1000000" for name in ("epochs", "evaluate_every")]
    sweep = load_sweep("double_descent", [*grid, *training])
    return CohortTraining(sweep.models(), data, device, ResourcesConfig(stack=members, execution=execution))


def seconds(training: CohortTraining) -> float:
    """Of one epoch."""
    began = time.perf_counter()
    training.run_epoch()
    if training.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


@contextmanager
def cudnn_measures(measures: bool):
    """Within the block cuDNN measures which algorithm is fastest for new shapes."""
    torch.backends.cudnn.benchmark = measures
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = False


if __name__ == "__main__":
    main()
