"""How close is the memory that a cohort is said to need to what it takes?

    python tests/benchmarks/memory.py [--device cuda] [--out RESULTS.md]

Trains cohorts, each in a process of its own, as a trial does (checkpoints and models written to a store), and compares
the peak of the process's resident memory with `planning.memory.memory_need`; on CUDA also that of its tensors. Random
images: 1,000 for training, 1,000 for tests.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

DIGITS, COLOURS = (1, 8, 8), (3, 32, 32)
ADAM, SGD = {}, {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9}
SAM = SGD | {"sam_radius": 0.05}
CASES = [
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
HEAD = [
    "cohort",
    "members",
    "stack",
    "images",
    "training",
    "needed, MiB",
    "taken, MiB",
    "needed / taken",
    "counted in, s",
]


def main() -> None:
    """Print, or append to a file, a table with a row a cohort. Little is imported here: children inherit the peak."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    parser.add_argument("--only", default="", help="cohorts whose architecture begins so")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case is not None:
        print(json.dumps(trained(chosen.case, chosen.device)))
        return
    rows = []
    for index, (architecture, width, shape, members, stack, training) in enumerate(CASES):
        if not architecture.startswith(chosen.only):
            continue
        found = json.loads(_in_a_process("--case", str(index), "--device", chosen.device))
        for what in ("host", "device") if chosen.device == "cuda" else ("host",):
            needed, taken = found[f"{what} needed"], found[f"{what} taken"]
            numbers = [f"{needed:.0f}", f"{taken:.0f}", f"{needed / taken:.2f}", f"{found['seconds']:.2f}"]
            settings = ", ".join(f"{name}={value}" for name, value in training.items()) or "adam"
            size = "x".join(map(str, shape))
            rows.append([f"{architecture} {width}", str(members), str(stack), size, settings, *numbers])
            print("  ".join(rows[-1]), flush=True)
    import torch
    from timing import markdown, measured_on

    text = f"## Memory of cohorts, {measured_on(torch.device(chosen.device))}\n\n{markdown(HEAD, rows)}\n"
    if chosen.out is None:
        print(text)
        return
    with chosen.out.open("a") as results:
        results.write(f"\n{text}")


def _in_a_process(*arguments: str) -> str:
    from dbviz_ray.cluster.session import WORKER_ENVIRONMENT

    command = [sys.executable, __file__, *arguments]
    environment = os.environ | WORKER_ENVIRONMENT
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout


def trained(case: int, device_type: str) -> dict[str, float]:
    """Needed and taken MiB of training a cohort in this process, and the seconds that counting took."""
    from timing import models_of, random_dataset

    import dbviz_ray.cluster.training  # noqa: F401  # what a worker imports
    from dbviz_ray.cluster.session import start_worker
    from dbviz_ray.config import Cohort, ResourcesConfig, TrainingConfig
    from dbviz_ray.datasets import DatasetFacts
    from dbviz_ray.evaluation.records import save_model
    from dbviz_ray.planning.memory import memory_need
    from dbviz_ray.store import Store
    from dbviz_ray.training.allocations import peak_memory
    from dbviz_ray.training.checkpoints import CohortCheckpoints
    from dbviz_ray.training.cohort import train_cohort

    architecture, width, shape, members, stack, training = CASES[case]
    device = start_worker(device_type == "cuda", 1)
    settings = TrainingConfig(**{"epochs": 1, "batch_size": BATCH} | training)
    models = models_of(architecture, width, members, settings)
    data = random_dataset(shape, IMAGES, IMAGES)
    resources = ResourcesConfig(stack=stack, gpus_per_cohort=float(device_type == "cuda"))
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "run")
        checkpoints = CohortCheckpoints(store, Cohort(models=tuple(models)))
        for model in train_cohort(models, data, device, resources=resources, checkpoints=checkpoints):
            save_model(store, model, data, {})
    taken = peak_memory()
    started = time.perf_counter()
    need = memory_need(models, DatasetFacts(shape, 10, IMAGES, IMAGES), resources)
    seconds = time.perf_counter() - started
    sizes = {
        "host needed": need.host,
        "host taken": taken["peak_memory_bytes"],
        "device needed": need.device,
        "device taken": taken.get("peak_gpu_memory_bytes", 0),
    }
    return {"seconds": seconds} | {name: size / 2**20 for name, size in sizes.items()}


if __name__ == "__main__":
    main()
