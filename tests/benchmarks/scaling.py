"""How much faster is training with two workers than with one?

    python tests/benchmarks/scaling.py [--rounds 3] [--out RESULTS.md] [SWEEP [key=value ...]]

Runs the training stage of a sweep (double_descent_digits) with one worker and with two, in turn, each time anew,
as a process of the command; every worker has one thread. A training lasts from the start of its first cohort to the end
of its last. The ratio means something only on two idle cores; at most 0.6 is wanted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from timing import markdown, measured_on, ratio_text

from dbviz_ray.config import SweepConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.store import Store

ROOT = Path(__file__).resolve().parents[2]
WORKERS = (1, 2)
WANTED = 0.6


def main() -> None:
    """Print the table, or append it to a file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sweep", nargs="*", default=["double_descent_digits"], help="name or file, then overrides")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    chosen = parser.parse_args()
    sweep = load_sweep(chosen.sweep[0], chosen.sweep[1:])
    found: dict[int, list[tuple[float, float]]] = {workers: [] for workers in WORKERS}
    for _ in range(chosen.rounds):
        for workers, trainings in found.items():
            trainings.append(trained(sweep, chosen.sweep, workers))
            print(f"{workers} workers: training %.1f s, process %.1f s" % trainings[-1], flush=True)
    rows = [
        [str(workers), *(f"{statistics.median(column):.1f}" for column in zip(*trainings, strict=True))]
        for workers, trainings in found.items()
    ]
    one, two = ([seconds for seconds, _ in found[workers]] for workers in WORKERS)
    heading = f"## Scaling of {' '.join(chosen.sweep)}, {measured_on(torch.device('cpu'))}"
    ratio = f"Two workers need {ratio_text(two, one)} of the time of one (at most {WANTED} is wanted)."
    text = "\n\n".join([heading, markdown(["workers", "training, s", "whole process, s"], rows), ratio]) + "\n"
    print(f"\n{text}")
    if chosen.out is not None:
        with chosen.out.open("a") as results:
            results.write(f"\n{text}")


def trained(sweep: SweepConfig, words: Sequence[str], workers: int) -> tuple[float, float]:
    """Seconds of the training and of the whole process with so many workers, in a directory of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "RAY_OVERRIDE_RESOURCES": f'{{"CPU": {workers * sweep.resources.cpus_per_cohort}}}',
    }
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        command = [sys.executable, "-m", "dbviz_ray.sweep", *words]
        options = ["--out", str(run), "--stages", "train", "--address", "local"]
        started = time.perf_counter()
        subprocess.run([*command, *options], check=True, env=environment, stdout=subprocess.DEVNULL)
        process = time.perf_counter() - started
        return _training_seconds(sweep, Store(run)), process


def _training_seconds(sweep: SweepConfig, store: Store) -> float:
    """From the start of the first cohort to the end of the last, by the files of the models."""
    starts, ends = [], []
    for cohort in sweep.cohorts():
        files = [store.model_file(model.model_id, "model.json") for model in cohort.models]
        written = [Path(store.path(file)).stat().st_mtime for file in files]
        starts.append(min(written) - store.read_json(files[0])["seconds"])
        ends.append(max(written))
    return max(ends) - min(starts)


if __name__ == "__main__":
    main()
