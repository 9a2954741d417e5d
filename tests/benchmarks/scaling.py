"""How much faster is training with two workers than with one, and does the simulation of many tell the truth?

    python tests/benchmarks/scaling.py [--rounds 3] [--out RESULTS.md] [SWEEP [key=value ...]]

Runs the training stage of a sweep (double_descent_digits) with one worker and with two, in turn, each time from
nothing, as a process of the command; the workers have a thread each. The time of a training is that from the start of
its first cohort to the end of its last; that of the whole process, which starts Ray too, is told beside it. Then the
cohorts' own seconds, as their models' files tell them, are put together again by the simulation that `--plan` uses
(`dbviz_ray.planning.scaling`), for one and two workers, to be compared with what was measured; and for 8, 64 and 256,
as are the cohorts of the plan of double_descent.

Only on two cores that have nothing else to do the ratio means something; at most 0.6 is wanted.
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
from dataclasses import dataclass
from pathlib import Path

from timing import markdown, measured_on, ratio_text

from dbviz_ray.config import SweepConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import facts_of_dataset
from dbviz_ray.planning.cohort_plans import cohort_plans
from dbviz_ray.planning.makespan import Job, ideal_makespan, makespan
from dbviz_ray.planning.plan import plan
from dbviz_ray.planning.scaling import GPUS
from dbviz_ray.planning.sizes import longest_first
from dbviz_ray.planning.step_times import StepTimes
from dbviz_ray.store import Store

ROOT = Path(__file__).resolve().parents[2]
WORKERS = (1, 2)
WANTED = 0.6
ANY_TIMES = StepTimes.assumed(flops_rate=1.0, overhead=0.0)
"""For what of a cohort's plan is no time."""


@dataclass(frozen=True)
class Training:
    """A training stage that was run."""

    process: float
    """Seconds of the whole command."""
    seconds: float
    """From the start of the first cohort to the end of the last."""
    jobs: list[Job]
    """The cohorts in the order of their training, with the seconds that each took."""


def main() -> None:
    """Print, or append to a file, the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sweep", nargs="*", default=["double_descent_digits"], help="name or file, then overrides")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    chosen = parser.parse_args()
    sweep = load_sweep(chosen.sweep[0], chosen.sweep[1:])
    found: dict[int, list[Training]] = {workers: [] for workers in WORKERS}
    for _ in range(chosen.rounds):
        for workers, trainings in found.items():
            training = trained(sweep, chosen.sweep, workers)
            trainings.append(training)
            print(f"{workers} workers: {training.seconds:.1f} s, the process {training.process:.1f} s", flush=True)
    import torch

    heading = f"## Scaling of {' '.join(chosen.sweep)}, {measured_on(torch.device('cpu'))}"
    text = "\n\n".join([heading, measured_table(found), ratio_told(found), simulated_table(sweep, found)]) + "\n"
    print(f"\n{text}")
    if chosen.out is not None:
        with chosen.out.open("a") as results:
            results.write(f"\n{text}")


def trained(sweep: SweepConfig, words: Sequence[str], workers: int) -> Training:
    """Run the training stage with so many workers, in a directory of its own that is deleted then."""
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
        return _training(sweep, Store(run), process)


def _training(sweep: SweepConfig, store: Store, process: float) -> Training:
    """What the files of trained models tell; those of a cohort are written when it ends, one after another."""
    data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
    cohorts = longest_first(sweep.cohorts(), data)
    starts, ends, jobs = [], [], []
    for cohort, planned in zip(cohorts, cohort_plans(cohorts, data, ANY_TIMES), strict=True):
        files = [store.model_file(model.model_id, "model.json") for model in cohort.models]
        written = [Path(store.path(file)).stat().st_mtime for file in files]
        seconds = store.read_json(files[0])["seconds"]
        starts.append(min(written) - seconds)
        ends.append(max(written))
        jobs.append(Job(seconds, planned.after))
    return Training(process, max(ends) - min(starts), jobs)


def measured_table(found: dict[int, list[Training]]) -> str:
    """A row for each number of workers: medians over the rounds."""
    head = ["workers", "training, s", "whole process, s", "cohorts' seconds in all", "simulated, s", "ideal, s"]
    rows = []
    for workers, trainings in found.items():
        figures = [
            [t.seconds, t.process, sum(job.seconds for job in t.jobs), makespan(t.jobs, workers),
             ideal_makespan(t.jobs, workers)]
            for t in trainings
        ]  # fmt: skip
        middles = [statistics.median(column) for column in zip(*figures, strict=True)]
        rows.append([str(workers), *(f"{middle:.1f}" for middle in middles)])
    return markdown(head, rows)


def ratio_told(found: dict[int, list[Training]]) -> str:
    """What two workers take of the time of one, measured and simulated."""
    one, two = found[1], found[2]
    measured = ratio_text([t.seconds for t in two], [t.seconds for t in one])
    whole = ratio_text([t.process for t in two], [t.process for t in one])
    simulated = ratio_text([makespan(t.jobs, 2) for t in one], [makespan(t.jobs, 1) for t in one])
    errors = {
        workers: ratio_text([makespan(t.jobs, workers) for t in trainings], [t.seconds for t in trainings])
        for workers, trainings in found.items()
    }
    return (
        f"Two workers take {measured} of the time of one (at most {WANTED} is wanted), the whole process {whole}; "
        f"from the cohorts' seconds with one worker the simulation foretells {simulated}.\n"
        f"Simulated times are {errors[1]} of those measured with one worker, {errors[2]} with two."
    )


def simulated_table(sweep: SweepConfig, found: dict[int, list[Training]]) -> str:
    """The makespan on more workers, and how far it is from the ideal."""
    paper = plan(load_sweep("double_descent"))
    kinds = {
        f"{sweep.name}, cohorts as measured": (found[1][-1].jobs, 1.0, "s"),
        f"double_descent, cohorts as planned ({paper.basis.partition(':')[0]})": (
            [cohort.job for cohort in paper.cohorts],
            3600.0,
            "h",
        ),
    }
    head = ["", "workers", "makespan", "ideal", "beyond it", "workers busy"]
    rows = []
    for name, (jobs, unit, letter) in kinds.items():
        for workers in GPUS:
            seconds, ideal = makespan(jobs, workers), ideal_makespan(jobs, workers)
            busy = sum(job.seconds for job in jobs) / (workers * seconds)
            times = [f"{value / unit:.1f} {letter}" for value in (seconds, ideal)]
            rows.append([name, str(workers), *times, f"{seconds / ideal - 1:.1%}", f"{busy:.0%}"])
    return markdown(head, rows)


if __name__ == "__main__":
    main()
