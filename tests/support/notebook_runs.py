"""A made-up run with everything that notebooks look at."""

from __future__ import annotations

from pathlib import Path

from conftest import small_sweep
from support.made_up_runs import let_fail, made_up_run

from dbviz_ray.analysis.findings import find, write_findings
from dbviz_ray.analysis.notebook import Run, load_run
from dbviz_ray.analysis.tables import compute_tables, write_tables

LOST = "w8-adam-noise0-seed1"
"""Could not be trained."""


def notebook_run(directory: Path) -> Run:
    """Three widths, two label noises, two seeds, a snapshot, two plane sets."""
    sweep = small_sweep(
        grid={"width": [2, 4, 8], "label_noise": [0.0, 0.2], "seed": [0, 1]},
        training={"epochs": 3, "batch_size": 64, "snapshots": [1]},
        planes={"test": {"count": 6, "resolution": 12}, "train": {"count": 4, "resolution": 9, "images": "train"}},
    )
    store = made_up_run(directory, sweep, error=lambda model, epoch: 1 / (model.width + epoch))
    let_fail(store, sweep, lambda model: "train" if LOST in model.model_id else "")
    tables = compute_tables(store, sweep)
    write_tables(store, tables)
    write_findings(store, find(tables))
    return load_run(directory)
