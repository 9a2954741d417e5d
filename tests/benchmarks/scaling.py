"""How much faster is training with two workers than with one?

    python tests/benchmarks/scaling.py [--out FILE]

Runs the training stage of double_descent_digits with one worker and with two, in turn, each time anew, as a
process of the command; every worker has one thread. A training lasts from the start of its first cohort to the end of
its last. The ratio means something only on two idle cores; at most 0.6 is wanted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import ROOT, markdown, parser_of, ratio_text, report

from dbviz_ray.config import SweepConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.store import Store

SWEEP, ROUNDS, WANTED = "double_descent_digits", 3, 0.6


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


if __name__ == "__main__":
    chosen = parser_of(__doc__).parse_args()
    report("Scaling", [workers()], chosen.out)
