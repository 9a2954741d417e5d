"""How long does it take to plan 100,000 models, and to resume a sweep with 10,000 finished ones?

    python tests/benchmarks/planning.py [--smaller 1] [--out FILE]

Everything is measured as whole processes of the command, its imports included, and once more step by step in one. On a
machine that is shared, seconds of the processor tell more than those of the clock.

Two sweeps are planned: a product of widths, label noise and seeds; and one of recipes, cases and students. Most of what
is not their models' is importing torch and measuring training steps.

The sweep that is resumed is first run really, with 16 models. 10,000 models then get files of the same names and
contents (hard links, so that only their number is large). Measured is the command with nothing to do, and, with the
files of 10 models deleted, the stages that make them again: Ray is started, and trains and evaluates. The same models
in a directory of their own tell what of that is not the resuming's.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # the package need not be installed

COMMAND = [sys.executable, "-m", "dbviz_ray.sweep"]
NOISE = [0.0, 0.1, 0.2, 0.4]
STUDENT = {"recipe": "alone", "architecture": "fully_connected", "width": 40}
RECIPES = {
    "alone": {},
    "sgd": {"optimizer": "sgd", "momentum": 0.9},
    "sharp_aware": {"sam_radius": 0.05},
    "student": {"distillation": STUDENT},
    "of_the_first": {"distillation": STUDENT | {"seed": 0, "labels": "hard"}},
}


def planned_sweeps(seeds: int) -> dict[str, dict[str, Any]]:
    """Sweeps of 1,000 models a seed."""
    grid = {"label_noise": NOISE, "seed": list(range(seeds))}
    cases = [
        {"architecture": ["fully_connected"], "width": list(range(1, 41)), "recipes": RECIPES},
        {"architecture": ["fully_connected_deep"], "width": list(range(16, 176, 16)), "recipes": RECIPES},
    ]
    planes = {"test": {"count": 100}, "mislabelled": {"images": "train", "labels": "mislabelled", "count": 50}}
    return {
        "250 widths": {"grid": grid | {"width": list(range(1, 251))}},
        "recipes, cases, students": {"grid": grid | {"label_noise_seed": [0]}, "cases": cases, "planes": planes},
    }


def resumed_sweep(seeds: int) -> dict[str, Any]:
    """A sweep of 100 models a seed."""
    grid = {"width": list(range(1, 51)), "label_noise": [0.0, 0.2], "seed": list(range(seeds)), "label_noise_seed": [0]}
    planes = {"test": {"count": 2, "resolution": 4}, "train": {"count": 2, "resolution": 4, "images": "train"}}
    return {
        "dataset": {"name": "digits", "train_size": 100, "test_size": 50},
        "grid": grid,
        "training": {"epochs": 2},
        "planes": planes,
        "margins": {"images": 5, "directions": 2, "steps": 5},
    }


FEW = ["grid.width=[1,2,3,4]", "grid.seed=[0,1]"]
"""The models of the first run, which have the same tables and figures."""
LEFT_OUT = 10
ALONE = [
    "grid.width=[1,6,11,16,21,26,31,36,41,46]",
    "grid.label_noise=[0.0]",
    "grid.seed=[0]",
    "scores=[fragmentation]",
]
"""As many models as are left out, as a sweep."""

STEPS_OF_PLANNING = {
    "import of the configuration": "from dbviz_ray.config.sweep_files import load_sweep",
    "load_sweep": "sweep = load_sweep(file)",
    "model_ids": "{model.model_id for model in sweep.models()}",
    "cohort_ids": "{cohort.cohort_id for cohort in sweep.cohorts()}",
    "import of torch": "from dbviz_ray.planning.plan import plan",
    "plan": "str(plan(sweep))",
}
STEPS_OF_LOOKING = {
    "import of the command": """
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.evaluation.work import missing_tasks
from dbviz_ray.stages import Options
from dbviz_ray.stages.run import state_of
from dbviz_ray.store import Store""",
    "load_sweep": "sweep, store = load_sweep(file), Store(run)",
    "check_owner": "store.check_owner(sweep)",
    "complete_models": "store.complete_models()",
    "labelled": "store.labelled('test')",
    "with_margins": "store.with_margins()",
    "missing_tasks": "missing_tasks(sweep, store)",
    "state_of": "state_of(sweep, store, Options())",
    "state_of without imports": "state_of(sweep, store, Options())",
}
"""What the command looks at before it does anything."""


def rows_of_steps(name: str, steps: dict[str, str], names: dict[str, Any]) -> list[list[str]]:
    """Rows of the steps of one process; the peak is that so far."""
    rows = []
    for step, code in steps.items():
        started, processor = time.perf_counter(), time.process_time()
        exec(code, names)
        seconds, used = time.perf_counter() - started, time.process_time() - processor
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        rows.append([f"{name}, {step}", f"{seconds:.2f}", f"{used:.2f}", f"{peak:.0f}"])
    return rows


def step_by_step(*arguments: object) -> list[list[str]]:
    """`rows_of_steps` in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(rows_of_steps, *arguments).result()


def row_of_process(name: str, command: Sequence[str], told: str = "") -> list[str]:
    """What a process takes, without Ray's; it prints `told`. Little is imported here: children inherit the peak."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(ROOT)
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, env=environment, cwd=tempfile.gettempdir())
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0)
        printed = output.read()
    if status or told not in printed:
        sys.exit(f"{' '.join(command)} ended with {status}\n{printed}")
    row = [name, f"{seconds:.2f}", f"{used.ru_utime + used.ru_stime:.2f}", f"{used.ru_maxrss / 1024:.0f}"]
    print("  ".join(row), file=sys.stderr)
    return row


def rows_of_planning(scratch: Path, seeds: int) -> list[list[str]]:
    """Rows about `--plan`."""
    rows = []
    for name, fields in planned_sweeps(seeds).items():
        file = _sweep_file(scratch / "planned.yaml", fields)
        rows.append(row_of_process(f"{name}: --plan", [*COMMAND, file, "--plan"], f"{1000 * seeds:,} in "))
        rows += step_by_step(name, STEPS_OF_PLANNING, {"file": file})
    return rows


def rows_of_resuming(scratch: Path, seeds: int) -> list[list[str]]:
    """Rows about a run directory of many finished models."""
    file = _sweep_file(scratch / "resumed.yaml", resumed_sweep(seeds))
    few, many = scratch / "runs" / "few", scratch / "runs" / "many"
    row_of_process("the first models", [*COMMAND, file, *FEW, "--out", str(few), "--address", "local"])
    model_ids = multiplied(file, few, many)
    command, looked_up = [*COMMAND, file, "--out", str(many)], {"file": file, "run": str(many)}
    computing = ["--stages", "train,evaluate", "--address", "local"]
    rows = [row_of_process("nothing to do", command, "nothing to do")]
    rows += step_by_step("nothing to do", STEPS_OF_LOOKING, looked_up)
    left_out = model_ids[:: len(model_ids) // LEFT_OUT]
    folders = [folder for model_id in left_out for folder in _folders_of(many, model_id)]
    for folder in folders:
        shutil.rmtree(folder)
    rows += step_by_step(f"{LEFT_OUT} missing", STEPS_OF_LOOKING, looked_up)
    rows.append(row_of_process(f"{LEFT_OUT} missing, trained and evaluated", [*command, *computing]))
    assert all(folder.is_dir() for folder in folders)
    alone = [*COMMAND, file, *ALONE, "--out", str(scratch / "runs" / "alone"), *computing]
    return [*rows, row_of_process(f"{LEFT_OUT} models in a directory of their own", alone)]


def _sweep_file(file: Path, fields: dict[str, Any]) -> str:
    file.write_text(json.dumps(fields))  # which is YAML too
    return str(file)


def multiplied(file: str, few: Path, many: Path) -> list[str]:
    """Make a run directory in which every model of a sweep has a finished model's files; their model_ids."""
    from dbviz_ray.config.sweep_files import load_sweep
    from dbviz_ray.store import Store

    sweep = load_sweep(file)
    Store(many).claim(sweep)
    for folder in ("planes", "scores", "figures"):
        shutil.copytree(few / folder, many / folder)
    for kept in few.glob("*.json"):  # where it was logged
        shutil.copy(kept, many)
    template = min(path.name for path in (few / "models").iterdir())
    model_ids = [model.model_id for model in sweep.models()]
    for model_id in model_ids:
        for source, target in zip(_folders_of(few, template), _folders_of(many, model_id), strict=True):
            shutil.copytree(source, target, copy_function=os.link)
    return model_ids


def _folders_of(run: Path, model_id: str) -> list[Path]:
    """Where a run directory keeps what it has of a model."""
    labels = [run / "labels" / f"plane_set={name}" / f"model_id={model_id}" for name in ("test", "train")]
    return [run / "models" / model_id, *labels, run / "margins" / f"model_id={model_id}"]


def main() -> None:
    """Print, and append to a file, a table of each part."""
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    parser.add_argument("--smaller", type=int, default=1, help="divide the numbers of models, by up to 50")
    chosen = parser.parse_args()
    seeds = 100 // chosen.smaller
    with tempfile.TemporaryDirectory() as scratch:
        planning, resuming = rows_of_planning(Path(scratch), seeds), rows_of_resuming(Path(scratch), seeds)
    from timing import markdown, report

    head = ["seconds", "CPU seconds", "peak memory, MiB"]
    tables = [
        markdown([f"{1000 * seeds:,} models", *head], planning),
        markdown([f"{100 * seeds:,} finished models", *head], resuming),
    ]
    report("Planning and resuming", tables, chosen.out)


if __name__ == "__main__":
    main()
