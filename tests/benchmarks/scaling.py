"""How much faster is training with two workers than with one, and what does it cost to schedule a cohort?

    python tests/benchmarks/scaling.py [--only workers|scheduling] [--out FILE]

workers: runs the training stage of double_descent_digits with one worker and with two, in turn, each time anew, as a
process of the command; every worker has one thread. A training lasts from the start of its first cohort to the end of
its last. The ratio means something only on two idle cores; at most 0.6 is wanted.
scheduling: cohorts of one model that find themselves trained, through Ray Tune. A trial does all that a trial does but
for the training: it gets a process and its part of the machine, reads its configuration, asks the store what is
complete, and reports. Ray's start is not counted, the start of its processes is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import ROOT, markdown, measure_parts, ratio_text, seconds_of

from dbviz_ray.config import SweepConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import facts_of_dataset
from dbviz_ray.store import Store

SWEEP, ROUNDS, WANTED = "double_descent_digits", 3, 0.6
WIDTHS, SEEDS = 25, 40


def workers() -> str:
    """One worker and two."""
    sweep = load_sweep(SWEEP)
    rounds = [{count: trained(sweep, count) for count in (1, 2)} for _ in range(ROUNDS)]
    rows = [
        [
            str(count),
            *(f"{statistics.median(column):.1f}" for column in zip(*(of[count] for of in rounds), strict=True)),
        ]
        for count in (1, 2)
    ]
    one, two = ([of[count][0] for of in rounds] for count in (1, 2))
    ratio = f"Two workers need {ratio_text(two, one)} of the time of one (at most {WANTED} is wanted)."
    return markdown(["workers", "training, s", "whole process, s"], rows) + f"\n\n{ratio}"


def trained(sweep: SweepConfig, count: int) -> tuple[float, float]:
    """Seconds of the training and of the whole process with so many workers, in a directory of its own."""
    cores = f'{{"CPU": {count * sweep.resources.cpus_per_cohort}}}'
    environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_OVERRIDE_RESOURCES": cores}
    with tempfile.TemporaryDirectory() as scratch:
        run = Path(scratch) / "run"
        command = [sys.executable, "-m", "dbviz_ray.sweep", SWEEP, "--out", run, "--stages", "train"]
        started = time.perf_counter()
        subprocess.run([*command, "--address", "local"], check=True, env=environment, stdout=subprocess.DEVNULL)
        process = time.perf_counter() - started
        store, starts, ends = Store(run), [], []
        for cohort in sweep.cohorts():
            files = [store.model_file(model.model_id, "model.json") for model in cohort.models]
            written = [Path(store.path(file)).stat().st_mtime for file in files]
            starts.append(min(written) - store.read_json(files[0])["seconds"])
            ends.append(max(written))
    return max(ends) - min(starts), process


def scheduling() -> str:
    """Seconds a cohort."""
    from dbviz_ray.cluster.session import ray_session
    from dbviz_ray.cluster.training import train_cohorts
    from dbviz_ray.planning.sizes import longest_first

    grid = {"width": list(range(1, WIDTHS + 1)), "seed": list(range(SEEDS))}
    fields = {"name": "nothing", "dataset": {"name": "digits"}, "grid": grid, "resources": {"max_cohort_size": 1}}
    sweep = SweepConfig.model_validate(fields)
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "run")
        store.claim(sweep)
        for model in sweep.models():
            store.write_json(store.model_file(model.model_id, "model.json"), {"outcome": "done"})
        data = facts_of_dataset(sweep.dataset, "unused")
        cohorts = longest_first(sweep.cohorts(), data)
        with ray_session("local", sweep.resources, verbose=False) as session:
            ended = []
            seconds = seconds_of(
                lambda: ended.append(train_cohorts(store, cohorts, data, set(), sweep.resources, {}, session))
            )
    assert not ended[0].failures
    assert len(ended[0].trained_on) == len(cohorts)
    return f"{len(cohorts):,} cohorts of no work: {seconds:.1f} s, {seconds / len(cohorts):.3f} s each"


if __name__ == "__main__":
    measure_parts("Scaling", __doc__, {"workers": workers, "scheduling": scheduling})
