"""The project as a whole: linter, types, rooms, README."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest"

# Imports point downwards: a room may import those that stand below it in this list.
FLOORS = [
    ["dbviz_ray.sweep", "dbviz_ray.score", "analysis.__main__"],
    ["dbviz_ray.stages", "dbviz_ray.scoring"],
    ["dbviz_ray.computing", "dbviz_ray.score_files"],
    ["dbviz_ray.missing", "dbviz_ray.damage"],
    ["dbviz_ray.cluster", "dbviz_ray.comparison"],
    ["analysis"],
    ["dbviz_ray.image_sources", "dbviz_ray.model_sources", "dbviz_ray.finer_pictures"],
    ["dbviz_ray.run_models", "dbviz_ray.checkpoints", "dbviz_ray.costs"],
    ["dbviz_ray.planning", "dbviz_ray.records", "dbviz_ray.work", "dbviz_ray.cohort_checkpoints"],
    ["dbviz_ray.memory"],
    ["dbviz_ray.margins", "dbviz_ray.passes", "dbviz_ray.pictures"],
    ["dbviz_ray.training"],
    ["dbviz_ray.evaluation", "dbviz_ray.networks", "dbviz_ray.exact_regions"],
    ["dbviz_ray.planes", "dbviz_ray.cell_complex"],
    ["dbviz_ray.cohort"],
    ["dbviz_ray.datasets", "dbviz_ray.architectures", "dbviz_ray.allocations"],
    ["dbviz_ray.task_queue"],
    ["dbviz_ray.tasks", "dbviz_ray.schedule"],
    [
        "dbviz_ray.store",
        "dbviz_ray.own_packages",
        "dbviz_ray.sweep_files",
        "dbviz_ray.provenance",
        "dbviz_ray.seeds",
    ],
    ["dbviz_ray.config", "dbviz_ray.validation", "dbviz_ray.arguments", "dbviz_ray.outcomes"],
    ["dbviz_ray.addresses", "dbviz_ray.interruption"],
    ["dbviz_ray.progress"],
    ["dbviz_ray.live"],
    ["dbviz_ray.registry", "dbviz_ray.display", "dbviz_ray.amounts", "dbviz_ray.pace"],
    ["dbviz_ray.errors"],
]


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_linter_formatter_and_type_checker_are_clean(command):
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def imported_modules(path: Path) -> set[str]:
    """Modules that a file imports when it is run, inside functions too; not those for type checkers alone."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def room_of(module: str) -> tuple[int, str] | None:
    """Floor and name of the room that a module stands in; None for modules of others."""
    return next(
        (
            (number, room)
            for number, rooms in enumerate(FLOORS)
            for room in rooms
            if module == room or module.startswith(f"{room}.")
        ),
        None,
    )


def source_files() -> list[Path]:
    return [path for package in ("dbviz_ray", "analysis") for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards(path):
    module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if module == "dbviz_ray":
        return  # the package's face hands names on
    own = room_of(module)
    assert own is not None, f"{module} stands on no floor"
    rooms = {imported: room_of(imported) for imported in imported_modules(path)}
    upwards = [name for name, room in rooms.items() if room is not None and room != own and room[0] <= own[0]]
    assert not upwards, f"{module} imports {upwards}"


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_cluster_knows_ray(path):
    if "cluster" not in path.parts:
        assert not [name for name in imported_modules(path) if name.split(".")[0] == "ray"]


def test_the_readme_and_ci_give_the_same_test_command():
    assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text()
    assert TEST_COMMAND in (ROOT / "README.md").read_text()


def test_every_package_is_installed():
    from setuptools import find_packages

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    found = set(find_packages(str(ROOT), include=settings["include"]))
    folders = {
        path.parent for package in ("dbviz_ray", "analysis", "sweeps") for path in (ROOT / package).rglob("*.py")
    }
    assert found == {".".join(folder.relative_to(ROOT).parts) for folder in folders}
