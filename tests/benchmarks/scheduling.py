"""What does it cost to schedule a cohort? Cohorts of one model that find themselves trained, through Ray Tune.

    python tests/benchmarks/scheduling.py [--cohorts 1000]

A trial does all that a trial does but for the training: it gets a process and its part of the machine, reads its
configuration, asks the store what is complete, and reports. Ray's start is not counted, the start of its processes is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
from timing import measured_on

from dbviz_ray.cluster.session import ray_session
from dbviz_ray.cluster.training import train_cohorts
from dbviz_ray.config import SweepConfig
from dbviz_ray.datasets import facts_of_dataset
from dbviz_ray.planning.sizes import longest_first
from dbviz_ray.store import Store

WIDTHS = 25


def main() -> int:
    """Print seconds a cohort."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=1000)
    count = parser.parse_args().cohorts
    sweep = SweepConfig.model_validate(
        {
            "name": "nothing",
            "dataset": {"name": "digits"},
            "grid": {"width": list(range(1, WIDTHS + 1)), "seed": list(range(max(2, count // WIDTHS)))},
            "resources": {"max_cohort_size": 1},
        }
    )
    print(measured_on(torch.device("cpu")))
    with tempfile.TemporaryDirectory() as directory:
        store = Store(Path(directory) / "run")
        store.claim(sweep)
        for model in sweep.models():
            store.write_json(store.model_file(model.model_id, "model.json"), {"outcome": "done"})
        data = facts_of_dataset(sweep.dataset, "unused")
        cohorts = longest_first(sweep.cohorts(), data)
        with ray_session("local", sweep.resources, verbose=False) as session:
            started = time.perf_counter()
            ended = train_cohorts(store, cohorts, data, set(), sweep.resources, {}, session)
            seconds = time.perf_counter() - started
    assert not ended.failures
    assert len(ended.trained_on) == len(cohorts)
    print(f"{len(cohorts):,} cohorts of no work: {seconds:.1f} s, {seconds / len(cohorts):.3f} s each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
