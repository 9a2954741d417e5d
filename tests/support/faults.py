"""Damage files of a run, or kill and freeze its processes, and compare the tables of the command that follows.

    python tests/support/faults.py [--flips 20] [--kinds model.json,raylet] [--address none]

After each fault the tables equal those of an undisturbed run byte for byte, or one line says why not. Prints a table.
"""

import argparse
import io
import itertools
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ray.thirdparty_files import psutil
from support.whole_sweeps import SMALL, TABLES_ONLY, copied, run, started, tables, wait_for

from dbviz_ray.sweep import main

FAST = [*SMALL, "training.epochs=8", "training.snapshots=[4]"]
AFTER_TRAINING = ["labels", "probabilities", "margins", "pictures"]
AFTER_EVALUATION = ["scores", "digests", "findings.json", "figures", "report.html"]
FILES = {
    "model.json": ("models/*/model.json", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "weights": ("models/*/weights.safetensors", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "snapshots": ("models/*/snapshots/*.safetensors", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "predictions": ("models/*/predictions.parquet", AFTER_EVALUATION),
    "history": ("models/*/history.parquet", AFTER_EVALUATION),
    "planes": ("planes/test.parquet", [*AFTER_TRAINING, *AFTER_EVALUATION]),
    "labels": ("labels/*/*/*/*.parquet", AFTER_EVALUATION),
    "probabilities": ("probabilities/*/*/*/*.parquet", AFTER_EVALUATION),
    "margins": ("margins/*/*/*.parquet", AFTER_EVALUATION),
    "sweep.yaml": ("sweep.yaml", AFTER_EVALUATION),
    "tables": ("scores/*.csv", []),
    "tables in Parquet": ("scores/*.parquet", []),
    "findings": ("findings.json", []),
    "digests": ("digests/tables.json", []),
    "figures": ("figures/*.png", []),
    "report": ("report.html", []),
    "tracking.json": ("tracking.json", []),
}
"""Of each kind: the files, and what is deleted so that the next command reads them."""
PROCESSES = {
    "raylet": ("raylet/raylet", "train evaluate"),
    "GCS": ("gcs_server", "train evaluate"),
    "trial worker": ("ray::ImplicitFunc", "train"),
    "evaluator": ("ray::Evaluator", "evaluate"),
    "driver": ("", "train evaluate analyse report"),
}
"""What its command line holds, and the stages in which there is one."""
STAGES = {"train": "cohorts/*/*", "evaluate": "labels/*/*/*", "analyse": "scores/*.parquet", "report": "figures/*.png"}
FROZEN_SECONDS = 15


def damages(content: bytes, older: bytes, flips: int, generator: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Versions of a file: bits flipped, cut, empty, an older one."""
    for place in generator.choice(len(content), min(flips, len(content)), replace=False):
        bit = 1 << int(generator.integers(8))
        yield "flipped bit", content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    yield from (("cut", content[: len(content) // 2]), ("empty", b""), ("older", older))


def outcome(directory: Path, expected: dict[str, bytes], words: Sequence[str]) -> str:
    """Whether the tables are those expected after a command in this process; otherwise the line that says why not."""
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        code = main([*words, "--out", str(directory), "--address", "none"])
    lines = told.getvalue().strip().splitlines()
    assert "Traceback" not in told.getvalue()
    if code:
        assert lines[-1].startswith("dbviz-ray")
        return f"exit code {code}: {lines[-1]}"
    found = tables(directory)
    differing = [name for name in expected if found.get(name) != expected[name]]
    return f"DIFFERENT: {', '.join(differing)}" if differing else "equal"


def files(kind: str, undisturbed: Path, other: Path, flips: int, scratch: Path) -> Counter[tuple[str, str]]:
    """Damage files of a kind; how each damage ended."""
    pattern, deleted = FILES[kind]
    generator, found = np.random.default_rng(len(kind)), Counter[tuple[str, str]]()
    paths, others = sorted(undisturbed.glob(pattern)), sorted(other.glob(pattern))
    path = paths[int(generator.integers(len(paths)))]
    older = others[paths.index(path) % len(others)].read_bytes()
    expected, words = tables(undisturbed), FAST if not deleted else [*FAST, *TABLES_ONLY]
    for name, content in damages(path.read_bytes(), older, flips, generator):
        directory = copied(undisturbed, scratch / "damaged" / "run")
        for made in deleted:
            shutil.rmtree(directory / made, ignore_errors=True)
            with suppress(OSError):
                (directory / made).unlink()
        directory.joinpath(path.relative_to(undisturbed)).write_bytes(content)
        found[name, outcome(directory, expected, words)] += 1
        shutil.rmtree(directory.parent)
    return found


def processes(kind: str, expected: dict[str, bytes], scratch: Path) -> Counter[tuple[str, str]]:
    """Kill and freeze a process of a kind in every stage in which there is one."""
    found = Counter[tuple[str, str]]()
    called, stages = PROCESSES[kind]
    for stage, number in itertools.product(stages.split(), (signal.SIGKILL, signal.SIGSTOP)):
        directory = scratch / "killed" / "run"
        directory.parent.mkdir()
        process = started(directory, *SMALL)
        wait_for(STAGES[stage], directory, process)
        children = psutil.Process(process.pid).children(recursive=True)
        hit = [child.pid for child in children if called in " ".join(child.cmdline())]
        for pid in [process.pid] if kind == "driver" else hit[:1]:
            os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(FROZEN_SECONDS)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
        code = process.wait(300)
        said = Path(f"{directory}.log").read_text().strip().splitlines()
        assert code in (0, -9) or "dbviz-ray" in said[-1], f"exit code {code} without a word"
        assert "Traceback" not in "".join(said)
        name = f"{'killed' if number == signal.SIGKILL else 'frozen'} in {stage}"
        found[name, f"code {code}, then {outcome(directory, expected, SMALL)}"] += 1
        shutil.rmtree(directory.parent)
    return found


def inject() -> int:
    """Print one row for each kind, fault and end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flips", type=int, default=20)
    parser.add_argument("--kinds", default=",".join([*FILES, *PROCESSES]))
    chosen = parser.parse_args()
    total = Counter[bool]()
    with tempfile.TemporaryDirectory() as folder:
        scratch, kinds = Path(folder), chosen.kinds.split(",")
        for name, words in {"undisturbed": FAST, "other": [*FAST, "training.epochs=6"], "small": SMALL}.items():
            (scratch / name).mkdir()
            run(scratch / name / "run", *words)
        for kind in kinds:
            made = scratch / "undisturbed" / "run"
            if kind in FILES:
                found = files(kind, made, scratch / "other" / "run", chosen.flips, scratch)
            else:
                found = processes(kind, tables(scratch / "small" / "run"), scratch)
            for (fault, end), number in sorted(found.items()):
                print(f"| {kind} | {fault} | {number} | {end} |", flush=True)
            for (_, end), number in found.items():
                total["DIFFERENT" in end] += number
    print(f"{total.total()} faults, {total[True]} with other tables and not a word")
    return int(bool(total[True]))


if __name__ == "__main__":
    sys.exit(inject())
