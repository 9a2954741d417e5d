"""How long does it take to plan 100,000 models, and to resume a sweep with 10,000 finished ones?

    python tests/benchmarks/planning.py [--out RESULTS.md]

Everything is measured as whole processes of the command, its imports included, and once more step by step in one. On a
machine that is shared, seconds of the processor tell more than those of the clock.

Two sweeps are planned: a product of widths, label noise and seeds; and one of recipes, cases and students. Most of what
is not their models' is importing torch and measuring training steps.

The sweep that is resumed is first run really, with 16 models. 10,000 models then get files of the same names and
contents (hard links, so that only their number is large). Measured is the command with nothing to do, and, with the
files of 10 models deleted, the stages that make them again: Ray is started, and trains and evaluates. The same models
in a directory of their own tell what of that is not the resuming's.

2026-11-25, AMD EPYC 9005 (two cores): 100,000 models are planned in 7.4 and 8.4 s and 1.0 GiB; with 10,000 finished
models the command says after 3.3 s that there is nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
PLANES = {"test": {"count": 100}, "mislabelled": {"images": "train", "labels": "mislabelled", "count": 50}}
PLANNED: dict[str, dict[str, Any]] = {
    "250 widths": {"grid": {"width": list(range(1, 251)), "label_noise": NOISE, "seed": list(range(100))}},
    "recipes, cases, students": {
        "grid": {"label_noise": NOISE, "seed": list(range(100)), "label_noise_seed": [0]},
        "cases": [
            {"architecture": ["fully_connected"], "width": list(range(1, 41)), "recipes": RECIPES},
            {"architecture": ["fully_connected_deep"], "width": list(range(16, 176, 16)), "recipes": RECIPES},
        ],
        "planes": PLANES,
    },
}
"""Each of 100,000 models."""
RESUMED: dict[str, Any] = {
    "dataset": {"name": "digits", "train_size": 100, "test_size": 50},
    "grid": {"width": list(range(1, 51)), "label_noise": [0.0, 0.2], "seed": list(range(100)), "label_noise_seed": [0]},
    "training": {"epochs": 2},
    "planes": {"test": {"count": 2, "resolution": 4}, "train": {"count": 2, "resolution": 4, "images": "train"}},
    "margins": {"images": 5, "directions": 2, "steps": 5},
}
"""10,000 models; the first run has those of `FEW`, which have the same tables and figures."""
FEW = ["grid.width=[1,2,3,4]", "grid.seed=[0,1]"]
LEFT_OUT = 10
ALONE = [
    "grid.width=[1,6,11,16,21,26,31,36,41,46]",
    "grid.label_noise=[0.0]",
    "grid.seed=[0]",
    "scores=[fragmentation]",
]
"""The models that are left out, as a sweep."""
HEAD = ["seconds", "CPU seconds", "peak memory, MiB"]


def main() -> None:
    """Print, or append to a file, a table of each part."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    parser.add_argument("--steps-of-plan", metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--steps-of-resuming", nargs=2, metavar=("FILE", "DIR"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.steps_of_plan:
        print(json.dumps(steps_of_plan(chosen.steps_of_plan)))
        return
    if chosen.steps_of_resuming:
        print(json.dumps(steps_of_resuming(*chosen.steps_of_resuming)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        parts = {"100,000 models": planned(Path(scratch)), "10,000 finished models": resumed(Path(scratch))}
    import torch
    from timing import markdown, measured_on

    tables = [markdown([name, *HEAD], rows) for name, rows in parts.items()]
    text = f"## Planning and resuming, {measured_on(torch.device('cpu'))}\n\n" + "\n\n".join(tables) + "\n"
    print(f"\n{text}")
    if chosen.out is not None:
        with chosen.out.open("a") as results:
            results.write(f"\n{text}")


def planned(scratch: Path) -> list[list[str]]:
    """Rows about `--plan`."""
    rows: list[list[str]] = []
    for name, fields in PLANNED.items():
        file = _sweep_file(scratch / "planned.yaml", fields)
        told = _measured(rows, f"{name}: --plan", [*COMMAND, str(file), "--plan"])
        assert "100,000 in " in told, told
        _append_steps(rows, name, "--steps-of-plan", file)
    return rows


def resumed(scratch: Path) -> list[list[str]]:
    """Rows about a run directory of many finished models."""
    file = _sweep_file(scratch / "resumed.yaml", RESUMED)
    few, many = scratch / "runs" / "few", scratch / "runs" / "many"
    _run([*COMMAND, str(file), *FEW, "--out", str(few), "--address", "local"])
    model_ids = multiplied(file, few, many)
    rows: list[list[str]] = []
    command = [*COMMAND, str(file), "--out", str(many)]
    told = _measured(rows, "nothing to do", command)
    assert "nothing to do" in told, told
    _append_steps(rows, "nothing to do", "--steps-of-resuming", file, many)
    left_out = model_ids[:: len(model_ids) // LEFT_OUT]
    folders = [folder for model_id in left_out for folder in _folders_of(many, model_id)]
    for folder in folders:
        shutil.rmtree(folder)
    _append_steps(rows, f"{LEFT_OUT} missing", "--steps-of-resuming", file, many)
    computing = ["--stages", "train,evaluate", "--address", "local"]
    _measured(rows, f"{LEFT_OUT} missing, trained and evaluated", [*command, *computing])
    assert all(folder.is_dir() for folder in folders)
    alone = [*COMMAND, str(file), *ALONE, "--out", str(scratch / "runs" / "alone"), *computing]
    _measured(rows, f"{LEFT_OUT} models in a directory of their own", alone)
    return rows


def _sweep_file(file: Path, fields: dict[str, Any]) -> Path:
    file.write_text(json.dumps(fields))  # which is YAML too
    return file


def multiplied(file: Path, few: Path, many: Path) -> list[str]:
    """Make a run directory in which every model of a sweep has a finished model's files; their model_ids."""
    from dbviz_ray.config.sweep_files import load_sweep
    from dbviz_ray.store import Store

    sweep, store = load_sweep(str(file)), Store(many)
    store.claim(sweep)
    for folder in ("planes", "scores", "figures"):
        shutil.copytree(few / folder, many / folder)
    for kept in few.glob("*.json"):  # where it was logged
        shutil.copy(kept, many)
    template = sorted(path.name for path in (few / "models").iterdir())[0]
    models = sweep.models()
    for model in models:
        for source, target in zip(_folders_of(few, template), _folders_of(many, model.model_id), strict=True):
            shutil.copytree(source, target, copy_function=os.link)
    return [model.model_id for model in models]


def _folders_of(run: Path, model_id: str) -> list[Path]:
    """Where a run directory keeps what it has of a model."""
    labels = [run / "labels" / f"plane_set={name}" / f"model_id={model_id}" for name in RESUMED["planes"]]
    return [run / "models" / model_id, *labels, run / "margins" / f"model_id={model_id}"]


# ---- whole processes


def _measured(rows: list[list[str]], name: str, command: Sequence[str]) -> str:
    """Append what a process takes; what it printed. The CPU seconds of Ray's processes are not in it."""
    started = time.perf_counter()
    *lines, usage = _run([sys.executable, "-c", USAGE, *command]).splitlines()
    _append(rows, name, time.perf_counter() - started, *map(float, usage.split()))
    return "\n".join(lines)


USAGE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
sys.exit(code)
"""
"""Runs a command and prints its CPU seconds and peak memory (MiB, on Linux)."""


def _append(rows: list[list[str]], name: str, seconds: float, processor: float, peak: float) -> None:
    rows.append([name, f"{seconds:.2f}", f"{processor:.2f}", f"{peak:.0f}"])
    print("  ".join(rows[-1]), flush=True)


def _run(command: Sequence[str]) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tempfile.gettempdir())
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}")
    return done.stdout


# ---- step by step


def _append_steps(rows: list[list[str]], name: str, *arguments: object) -> None:
    for step, *found in json.loads(_run([sys.executable, __file__, *map(str, arguments)])):
        _append(rows, f"{name}, {step}", *found)


Steps = list[tuple[str, float, float, float]]
"""Name, seconds, CPU seconds, and peak memory so far (MiB)."""


@contextmanager
def _step(steps: Steps, name: str) -> Iterator[None]:
    started, processor = time.perf_counter(), time.process_time()
    yield
    taken = time.perf_counter() - started, time.process_time() - processor
    steps.append((name, *taken, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))


def steps_of_plan(file: str) -> Steps:
    """What planning does, in this process."""
    steps: Steps = []
    with _step(steps, "import of the configuration"):
        from dbviz_ray.config.sweep_files import load_sweep
    with _step(steps, "load_sweep"):
        sweep = load_sweep(file)
    with _step(steps, "model_ids"):
        assert len({model.model_id for model in sweep.models()}) == 100_000
    with _step(steps, "cohort_ids"):
        cohorts = sweep.cohorts()
        assert len({cohort.cohort_id for cohort in cohorts}) == len(cohorts)
    with _step(steps, "import of torch"):
        from dbviz_ray.planning.plan import plan
    with _step(steps, "plan"):
        str(plan(sweep))
    return steps


def steps_of_resuming(file: str, directory: str) -> Steps:
    """What the command looks at before it does anything, in this process."""
    steps: Steps = []
    with _step(steps, "import of the command"):
        from dbviz_ray.config.sweep_files import load_sweep
        from dbviz_ray.evaluation.work import missing_tasks
        from dbviz_ray.stages import Options
        from dbviz_ray.stages.run import state_of
        from dbviz_ray.store import Store
    with _step(steps, "load_sweep"):
        sweep, store = load_sweep(file), Store(directory)
    looks: dict[str, Callable[[], object]] = {
        "check_owner": lambda: store.check_owner(sweep),
        "complete_models": store.complete_models,
        "labelled": lambda: store.labelled("test"),
        "with_margins": store.with_margins,
        "missing_tasks": lambda: missing_tasks(sweep, store),
        "state_of": lambda: state_of(sweep, store, Options()),
        "state_of without imports": lambda: state_of(sweep, store, Options()),
    }
    for name, look in looks.items():
        with _step(steps, name):
            look()
    return steps


if __name__ == "__main__":
    main()
