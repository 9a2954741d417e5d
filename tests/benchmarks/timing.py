"""What the benchmarks share: their arguments, measurements in turn, random data, and the report of what was measured.

On a shared machine only ratios within one run mean something.
"""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

from dbviz_ray.config import DatasetConfig, ModelConfig, Seeds, TrainingConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.training.allocations import WORKER_ENVIRONMENT

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    return parser


def report(title: str, parts: Sequence[str], out: Path | None, device: torch.device = CPU) -> None:
    """Print texts and tables under a heading, and append them to `out`."""
    text = "\n\n".join([f"## {title}, {measured_on(device)}", *parts])
    print(text)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measured_on(device: torch.device) -> str:
    """Date, commit, device, cores and versions, in one line."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = "unknown"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{datetime.date.today()}, commit {commit}, {name}, {cores} CPU cores, {versions}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def alternating(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each round of each piece of work, done in turn after one round of warm-up; GPUs are waited for."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for round_number in range(rounds + 1):
        for name, do in work.items():
            taken = seconds_of(do)
            if round_number:
                seconds[name].append(taken)
    return seconds


def seconds_of(do: Callable[[], object]) -> float:
    """Seconds that `do` takes, until the GPU, if there is one, has done it."""
    wait = torch.cuda.synchronize if torch.cuda.is_available() else lambda: None
    wait()
    started = time.perf_counter()
    do()
    wait()
    return time.perf_counter() - started


def ratio_text(slower: Sequence[float], faster: Sequence[float]) -> str:
    """The ratio of two pieces of work, round by round: "median (smallest to largest)"."""
    ratios = [a / b for a, b in zip(slower, faster, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def as_a_worker() -> None:
    """Start this script again with the memory settings that Ray workers get, unless it has them."""
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | WORKER_ENVIRONMENT)
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)


def random_dataset(shape: tuple[int, int, int], train: int, test: int) -> Dataset:
    """Random pixels and ten random classes."""
    generator = torch.Generator().manual_seed(0)

    def split(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8, generator=generator)
        return images, torch.randint(0, 10, (count,), generator=generator)

    channels = shape[0]
    return Dataset(*split(train), *split(test), tuple("0123456789"), (0.5,) * channels, (0.25,) * channels)


def models_of(architecture: str, width: int, count: int, training: TrainingConfig) -> list[ModelConfig]:
    """Models that differ in their seeds alone."""
    seeds = [Seeds(init=n, order=n, augmentation=n, dropout=n, label_noise=n) for n in range(count)]
    alike = {"architecture": architecture, "width": width, "label_noise": 0.0, "dataset": DatasetConfig()}
    return [ModelConfig(**alike, seeds=own, training=training) for own in seeds]
