"""How close is the memory that a cohort is said to need to what it takes?

    python tests/benchmarks/memory.py [--device cuda] [--only resnet18] [--out FILE]

Trains cohorts, each in a process of its own, as a trial does (checkpoints and models written to a store), and compares
the peak of the process's resident memory with `planning.memory.memory_need`; on CUDA also that of its tensors. Random
images: 1,000 for training, 1,000 for tests.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from timing import in_a_process, markdown, models_of, parser_of, random_dataset, report, seconds_of

from dbviz_ray.config import Cohort, ResourcesConfig, TrainingConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.training.allocations import WORKER_ENVIRONMENT, peak_memory

DIGITS, COLOURS = (1, 8, 8), (3, 32, 32)
ADAM: dict[str, Any] = {}
SGD = {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9}
SAM = SGD | {"sam_radius": 0.05}
CASES: list[tuple[str, int, tuple[int, int, int], int, int, dict[str, Any]]] = [
    # architecture, width, image shape, members, members computed as one, training
    ("fully_connected", 8, DIGITS, 8, 8, ADAM),
    ("fully_connected", 512, DIGITS, 8, 8, SAM),
    ("fully_connected", 512, COLOURS, 8, 8, ADAM),
    ("fully_connected", 512, COLOURS, 16, 16, SGD),
    ("resnet18_width", 8, DIGITS, 6, 6, ADAM),
    ("resnet18_width", 8, COLOURS, 4, 4, SGD),
    ("resnet18_width", 16, COLOURS, 4, 4, SAM),
    ("resnet18_width", 16, COLOURS, 4, 1, ADAM | {"augmentation": "crop_flip"}),
    ("resnet18_width", 16, COLOURS, 4, 4, ADAM | {"precision": "bfloat16"}),
    ("vit", 64, DIGITS, 4, 4, ADAM),
    ("vit", 64, COLOURS, 4, 4, ADAM),
    ("vgg19", 64, DIGITS, 4, 4, ADAM),
    ("vgg19", 64, COLOURS, 2, 2, SGD),
    ("densenet121", 12, DIGITS, 3, 3, ADAM),
    ("densenet121", 12, COLOURS, 2, 2, SAM),
]
BATCH, IMAGES = 64, 1000


def main() -> None:
    """Print, and append to a file, a table with a row a cohort."""
    parser = parser_of(__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", default="", help="cohorts whose architecture begins so")
    chosen = parser.parse_args()
    os.environ.update(WORKER_ENVIRONMENT)  # for the processes
    rows = []
    for case in CASES:
        architecture, width, shape, members, stack, training = case
        if not architecture.startswith(chosen.only):
            continue
        pairs, seconds = in_a_process(trained, case, chosen.device)
        settings = ", ".join(f"{name}={value}" for name, value in training.items()) or "adam"
        name = [f"{architecture} {width}", str(members), str(stack), "x".join(map(str, shape)), settings]
        for needed, taken in pairs:
            numbers = [f"{needed / 2**20:.0f}", f"{taken / 2**20:.0f}", f"{needed / taken:.2f}", f"{seconds:.2f}"]
            rows.append([*name, *numbers])
            print("  ".join(rows[-1]), file=sys.stderr)
    head = ["cohort", "members", "stack", "images", "training"]
    head += ["needed, MiB", "taken, MiB", "needed / taken", "counted in, s"]
    report("Memory of cohorts", [markdown(head, rows)], chosen.out, torch.device(chosen.device))


def trained(case: tuple[Any, ...], device_type: str) -> tuple[list[tuple[int, int]], float]:
    """Train a cohort in this process: bytes needed and taken, of the host and on CUDA; seconds that counting took."""
    import dbviz_ray.cluster.training  # noqa: F401  # what a worker imports
    from dbviz_ray.cluster.session import start_worker
    from dbviz_ray.evaluation.records import save_model
    from dbviz_ray.planning.memory import memory_need
    from dbviz_ray.store import Store
    from dbviz_ray.training.checkpoints import CohortCheckpoints
    from dbviz_ray.training.cohort import train_cohort

    architecture, width, shape, members, stack, training = case
    on_gpu = device_type == "cuda"
    device = start_worker(on_gpu, 1)
    models = models_of(architecture, width, members, TrainingConfig(**{"epochs": 1, "batch_size": BATCH} | training))
    data = random_dataset(shape, IMAGES, IMAGES)
    resources = ResourcesConfig(stack=stack, gpus_per_cohort=float(on_gpu))
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "run")
        checkpoints = CohortCheckpoints(store, Cohort(models=tuple(models)))
        for model in train_cohort(models, data, device, resources=resources, checkpoints=checkpoints):
            save_model(store, model, data, {})
    taken, needs = peak_memory(), []
    seconds = seconds_of(lambda: needs.append(memory_need(models, DatasetFacts(shape, 10, IMAGES, IMAGES), resources)))
    of_host, of_device = (
        (needs[0].host, taken["peak_memory_bytes"]),
        (needs[0].device, taken.get("peak_gpu_memory_bytes", 0)),
    )
    return [of_host, of_device] if on_gpu else [of_host], seconds


if __name__ == "__main__":
    main()
