"""Files of a run are damaged, its processes killed and frozen, on a disk and in an object store: the tables stay.

After each fault the same command runs in this process. It ends with the tables of an undisturbed run, byte for byte,
or with one line that says why not. A short form runs each night. The whole takes an hour; how its faults ended:

    FLIPS=20 pytest -m nightly tests/stages/test_faults.py -rP | grep '^|'
"""

import io
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs
from ray.thirdparty_files import psutil
from support.whole_sweeps import SMALL, TABLES_ONLY, command, empty_database, run

from dbviz_ray.store.directory import Directory
from dbviz_ray.sweep import main

pytest_plugins = ["support.object_store"]
pytestmark = [pytest.mark.slow, pytest.mark.nightly, pytest.mark.timeout(3600)]

FLIPS = int(os.environ.get("FLIPS", "1"))
FAST = [*SMALL, "training.epochs=8", "training.snapshots=[4]"]
AFTER_TRAINING = ["labels", "probabilities", "margins", "pictures"]
AFTER_EVALUATION = ["scores", "digests", "figures", "report.html"]
FILES = {
    "model.json": ("models/*/model.json", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "weights": ("models/*/weights.safetensors", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "snapshots": ("models/*/snapshots/*/weights.safetensors", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "predictions": ("models/*/predictions.parquet", AFTER_EVALUATION),
    "history": ("models/*/history.parquet", AFTER_EVALUATION),
    "planes": ("planes/test.parquet", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "labels": ("labels/*/*/*/*.parquet", AFTER_EVALUATION),
    "probabilities": ("probabilities/*/*/*/*.parquet", AFTER_EVALUATION),
    "margins": ("margins/*/*/*.parquet", AFTER_EVALUATION),
    "sweep.yaml": ("sweep.yaml", AFTER_EVALUATION),
    "tables": ("scores/*.csv", []),
    "tables in Parquet": ("scores/*.parquet", []),
    "findings": ("scores/findings.json", []),
    "digests": ("digests/*.json", []),
    "figures": ("figures/*.png", []),
    "report": ("report.html", []),
    "tracking.json": ("tracking.json", []),
}
"""Of each kind: the files, and what is deleted so that the next command reads them."""
PROCESSES = {
    "raylet": ("raylet/raylet", ["train", "evaluate"]),
    "GCS": ("gcs_server", ["train", "evaluate"]),
    "trial worker": ("ray::ImplicitFunc", ["train"]),
    "evaluator": ("ray::Evaluator", ["evaluate"]),
    "driver": ("", ["train", "evaluate", "analyse", "report"]),
}
"""What its command line holds, and the stages in which there is one."""
STAGES = {"train": ("cohorts", ""), "evaluate": ("labels", ""), "analyse": ("scores", ""), "report": ("figures", "png")}
"""Folder and ending of the first files of each stage."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A finished run, and one of the same models that were trained for fewer epochs."""
    undisturbed, other = (tmp_path_factory.mktemp(name) / "run" for name in ("undisturbed", "other"))
    run(undisturbed, *FAST)
    run(other, *FAST, "training.epochs=6")
    return undisturbed, other


@pytest.fixture(autouse=True)
def beside_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's database of a run in an object store lies in the present folder."""
    monkeypatch.chdir(tmp_path)
    empty_database(tmp_path)


def damaged(fault: str, content: bytes, older: bytes, generator: np.random.Generator) -> bytes:
    place, bit = int(generator.integers(len(content))), 1 << int(generator.integers(8))
    flipped = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    return {"flipped bit": flipped, "cut": content[: len(content) // 2], "empty": b"", "older": older}[fault]


def tables(directory: Directory) -> dict[str, bytes]:
    return {name: directory.read(name) for name in directory.files("scores")}


def end_of(directory: Directory, expected: dict[str, bytes], words: Sequence[str]) -> str:
    """Whether the tables are those expected after a command in this process; otherwise the line that says why not."""
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        code = main([*words, "--out", directory.root, "--address", "none"])
    assert "Traceback" not in told.getvalue()
    if code:
        line = told.getvalue().strip().splitlines()[-1]
        assert (code in (1, 2), line.startswith("dbviz-ray")) == (True, True), told.getvalue()
        return f"exit code {code}: {line}"
    found = tables(directory)
    differing = [name for name in expected | found if found.get(name) != expected.get(name)]
    return f"DIFFERENT: {', '.join(differing)}" if differing else "equal"


def told(directory: Directory, kind: str, ends: Counter[tuple[str, str]]) -> None:
    for (fault, end), number in sorted(ends.items()):
        print(f"| {'disk' if directory.is_local else 'object store'} | {kind} | {fault} | {number} | {end} |")
    assert not [end for _, end in ends if "DIFFERENT" in end]


@pytest.mark.parametrize("kind", FILES)
def test_damaged_files_are_made_again_as_they_were_or_named(kind, made, directory):
    pattern, deleted = FILES[kind]
    paths, others = (sorted(run.glob(pattern)) for run in made)
    generator, ends, expected = np.random.default_rng(len(kind)), Counter[tuple[str, str]](), tables(Directory(made[0]))
    filesystem, base = fs.FileSystem.from_uri(directory.root) if directory.is_local else directory._place
    flips = FLIPS if directory.is_local else -(-FLIPS // 4)
    for fault in [*["flipped bit"] * flips, *(["cut", "empty", "older"] if FLIPS > 1 else [])]:
        place = int(generator.integers(len(paths)))
        fs.copy_files(str(made[0]), base, destination_filesystem=filesystem)
        for name in deleted:
            (directory.remove if "." in name else directory.remove_folder)(name)
        content = damaged(fault, paths[place].read_bytes(), others[place % len(others)].read_bytes(), generator)
        directory.write(str(paths[place].relative_to(made[0])), content)
        ends[fault, end_of(directory, expected, [*FAST, *TABLES_ONLY] if deleted else FAST)] += 1
        filesystem.delete_dir(base)
    told(directory, kind, ends)


ENDS = (signal.SIGKILL, signal.SIGSTOP)
FAULTS = [(kind, stage, number) for kind, (_, stages) in PROCESSES.items() for stage in stages for number in ENDS]


@pytest.mark.skipif(FLIPS == 1, reason="the short form; see test_chaos.py")
@pytest.mark.parametrize(("kind", "stage", "number"), FAULTS)
def test_killed_and_frozen_processes_cost_nothing_but_time(kind, stage, number, directory, undisturbed, tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as said:
        process = subprocess.Popen(command(directory.root, *SMALL), stdout=said, stderr=said)
    while not directory.files(*STAGES[stage]):
        assert process.poll() is None, f"the command ended before {stage} had begun"
        time.sleep(0.01)
    family = psutil.Process(process.pid).children(recursive=True)
    hit = [child.pid for child in family if PROCESSES[kind][0] in " ".join(child.cmdline())]
    for pid in [process.pid] if kind == "driver" else hit[:1]:
        os.kill(pid, number)
        if number == signal.SIGSTOP:
            time.sleep(15)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    code, lines = process.wait(300), log.read_text().strip().splitlines()
    assert code in (0, -9) or "dbviz-ray" in lines[-1], f"exit code {code} without a word"
    assert "Traceback" not in "".join(lines)
    end = end_of(directory, tables(Directory(undisturbed[0])), SMALL)
    told(directory, kind, Counter({(f"{number.name} in {stage}", f"code {code}, then {end}"): 1}))
