"""What the benchmarks share: arguments, cohorts on random images, runs in turn, and a report."""

import argparse
import datetime
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

import torch

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.training.cohort import CohortTraining

ROOT = Path(__file__).resolve().parents[2]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BATCH = 128
IMAGES = 25_600 if DEVICE.type == "cuda" else 1024
"""Of an epoch; a step's share of an epoch's own work is small with so many."""


def parser_of(description: str | None, **options: int | str | list[int]) -> argparse.ArgumentParser:
    """A parser with `--out` and these options, by their defaults; lists stand with commas."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    for name, default in options.items():
        parser.add_argument(f"--{name}", default=default, type=numbers if isinstance(default, list) else type(default))
    return parser


def numbers(text: str) -> list[int]:
    """As in `4,16,64`."""
    return [int(part) for part in text.split(",")]


def cohort_of(network: str, width: int, members: int, images: int, **arguments: Any) -> CohortTraining:
    """A cohort of double_descent on random images of 3 x 32 x 32; `fully_connected` on the digits in float32."""
    mixed = network != "fully_connected"
    settings = {"epochs": 100_000, "evaluate_every": 100_000, "batch_size": BATCH, "augmentation": "none"}
    settings |= {"precision": "bfloat16" if mixed else "float32"}
    grid = {"architecture": [network], "width": [width], "seed": list(range(members)), "label_noise": [0.2]}
    changes = [f"training.{name}={value}" for name, value in settings.items()]
    changes += [f"grid.{name}={values}" for name, values in grid.items()]
    data = random_images(images) if mixed else load_dataset(DatasetConfig(name="digits"), "unused")
    return CohortTraining(load_sweep("double_descent", changes).models(), data, DEVICE, **arguments)


def random_images(count: int) -> Dataset:
    """As of CIFAR-10."""
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 10
    return Dataset(images, labels, images[:BATCH], labels[:BATCH], tuple("0123456789"), (0.5,) * 3, (0.25,) * 3)


def in_turn(
    runs: Mapping[str, Callable[[], None]], rounds: int, wait: Callable[[], object] = lambda: None
) -> dict[str, float]:
    """The median seconds of each run over rounds of all; other processes are waited for before it and after it."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wait()
            began = time.perf_counter()
            run()
            wait()
            times[name].append(time.perf_counter() - began)
    return {name: statistics.median(of) for name, of in times.items()}


def synchronised(run: Callable[[], None]) -> None:
    """Also wait for the GPU."""
    run()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def report(title: str, parts: Sequence[str], out: Path | None) -> None:
    """Print texts and tables under a heading, and append them to `out`."""
    text = "\n\n".join([f"## {title}, {measured_on()}", *parts])
    print(text)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measured_on() -> str:
    """Date, commit, processor, cores and versions, in one line; on Linux."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{datetime.date.today()}, commit {commit}, {name}, {len(os.sched_getaffinity(0))} CPU cores, {versions}"
