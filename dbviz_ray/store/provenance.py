"""Where a result comes from: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("dbviz-ray", "torch", "torchvision", "numpy", "ray", "pyarrow")


@lru_cache(maxsize=1)
def provenance() -> dict[str, str]:
    """Library versions, Python, platform and, in a git checkout, the commit and whether the tree differs from it."""
    facts = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts | _git()


def _git() -> dict[str, str]:
    folder = Path(__file__).resolve().parent
    try:
        commit = _run(folder, "rev-parse", "HEAD")
        tracked = _run(folder, "ls-files", "--", Path(__file__).name)
        changed = _run(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"git_commit": commit, "git_dirty": str(bool(changed)).lower()} if tracked else {}


def _run(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
