"""What the benchmarks share: their arguments, and the report of what was measured."""

import argparse
import datetime
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def parser_of(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="append the results to this Markdown file")
    return parser


def report(title: str, parts: Sequence[str], out: Path | None) -> None:
    """Print texts and tables under a heading, and append them to `out`."""
    text = "\n\n".join([f"## {title}, {measured_on()}", *parts])
    print(text)
    if out is not None:
        with out.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measured_on() -> str:
    """Date, commit, processor, cores and versions, in one line; on Linux."""
    describe = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{datetime.date.today()}, commit {commit}, {name}, {len(os.sched_getaffinity(0))} CPU cores, {versions}"
