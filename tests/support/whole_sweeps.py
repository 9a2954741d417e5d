"""Whole sweeps as processes of their own, for tests that start, kill and compare them."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

SMALL = [
    "double_descent_digits", "dataset.train_size=300", "dataset.test_size=200", "grid.width=[4,16,64]",
    "grid.label_noise=[0.2]", "grid.seed=[0,1,2]", "training.epochs=60",
    "planes={test: {count: 20, resolution: 20, probabilities: true},"
    " one_class: {images: train, classes: same, count: 10, resolution: 20}}",
    "margins={images: 30, directions: 3}", "resources.checkpoint_seconds=0", "resources.max_cohort_size=3",
    "resources.evaluators=1",  # another one takes longer to start than it saves
    "resources.stack=3",  # measured, it might differ between two runs, and so the last bit of the weights
]  # fmt: skip
TABLES_ONLY = ["--stages", "train,evaluate,analyse"]
"""For tests that look at the tables: figures, report and MLflow take half of a small sweep's command."""

PLANTED_KEY = "a key that nothing may write down"
shared_folder: Path | None = None
"""Of all processes of a test session."""


def empty_database(folder: Path) -> None:
    """MLflow's database as MLflow itself begins one, which takes it seconds: made once a session, and copied."""
    if shared_folder is None or (folder / "mlflow.db").exists():
        return
    begun = shared_folder / "empty" / "mlflow.db"
    with FileLock(f"{shared_folder}/empty.lock"):
        if not begun.exists():
            from mlflow import MlflowClient

            begun.parent.mkdir(exist_ok=True)
            MlflowClient(f"sqlite:///{begun}").search_experiments()
    shutil.copy(begun, folder)


WITHOUT = "import sys; sys.modules.update(dict.fromkeys({})); from dbviz_ray.sweep import main; sys.exit(main())"
"""A command to which these packages are not installed."""


def command(directory: Path | str, *arguments: str, address: str = "local") -> list[str]:
    absent = ["ray", *(["mlflow", "matplotlib"] if "train,evaluate" in arguments else [])]
    program = ["-c", WITHOUT.format(absent)] if address == "none" else ["-m", "dbviz_ray.sweep"]
    return [sys.executable, *program, *arguments, "--out", str(directory), "--address", address]


def _surroundings(directory: Path) -> dict[str, Any]:
    """Beside the run, and without an MLflow server of somebody's own, who would get these runs."""
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    return {"cwd": directory.parent, "env": {"AWS_SECRET_ACCESS_KEY": PLANTED_KEY, **kept}}


def run(
    directory: Path, *arguments: str, code: int = 0, address: str = "local", database: bool = True
) -> subprocess.CompletedProcess[str]:
    """A command that ends with `code` and without a traceback; MLflow's database is begun for it if `database`."""
    if database:
        empty_database(directory.parent)
    words = command(directory, *arguments, address=address)
    result = subprocess.run(words, capture_output=True, text=True, timeout=500, **_surroundings(directory))
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    return result


def started(directory: Path, *arguments: str, address: str = "local") -> subprocess.Popen[bytes]:
    """The same as a process that goes on beside the test, and adds what it says to `directory`.log."""
    empty_database(directory.parent)
    words = command(directory, *arguments, address=address)
    with open(f"{directory}.log", "ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, **_surroundings(directory))


def tables(directory: Path) -> dict[str, bytes]:
    files = [*(directory / "scores").glob("*.csv"), directory / "scores" / "pairs.parquet"]
    found = {path.stem: path.read_bytes() for path in files}
    assert {"groups", "between_groups", "models", "pairs", "differences", "uncertainty"} < found.keys()
    return found


def wait_for(pattern: str, directory: Path, process: subprocess.Popen[bytes]) -> None:
    """Until a command has made a file."""
    while not any(directory.glob(pattern)):
        assert process.poll() is None, f"the command ended before {pattern} was there"
        time.sleep(0.01)
