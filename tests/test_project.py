"""The project as a whole: linter, types, rooms, README."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from statistics import median

import pytest
from support.documents import ROOT

TEST_COMMAND = "python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[test]' && .venv/bin/pytest"

MOST_FILES, MOST_LINES, MOST_TEST_LINES = 183, 24_882, 17_000
"""Lower them when the project gets smaller. Who raises one says what the project gets for it."""

COMMANDS = ["__main__", "sweep", "repeat", "score", "predictions", "redraw", "verify", "pytest_gate", "stages"]
# Rooms in order, top to bottom: a file may import what stands in its own room, later in its row, or in a row below.
ROOMS = [
    [f"dbviz_ray.{name}" for name in COMMANDS],
    ["dbviz_ray.cluster", "analysis.notebook"],
    ["analysis.compare", "analysis.predictions"],
    ["analysis.tracking", "analysis.report"],
    ["analysis.figures"],
    ["analysis.findings"],
    ["analysis.tables"],
    ["analysis.scores"],
    ["analysis.statistics"],
    ["dbviz_ray.planning"],
    ["dbviz_ray.evaluation"],
    ["dbviz_ray.planes"],
    ["dbviz_ray.training", "dbviz_ray.scripts"],
    ["dbviz_ray.architectures", "dbviz_ray.datasets"],
    ["dbviz_ray.store", "dbviz_ray.terminal"],
    ["dbviz_ray.config", "dbviz_ray.formatting", "dbviz_ray.errors"],
]
ORDER = [room for row in ROOMS for room in row]


@pytest.mark.parametrize("command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]])
def test_linter_formatter_and_type_checker_are_clean(command):
    result = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def module_of(path: Path) -> str:
    """The name of a file's module, `analysis` standing at the top as its folder does."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(path: Path) -> set[str]:
    """Modules that a file imports when it is run, inside functions too; not those for type checkers alone."""
    found = set()
    tree = ast.parse(path.read_text())
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("dbviz_ray.") if name.startswith("dbviz_ray.analysis") else name for name in found}


def room_of(module: str) -> str | None:
    """The room that a module stands in; None for modules of others."""
    return next((room for room in ORDER if module == room or module.startswith(f"{room}.")), None)


def source_files() -> list[Path]:
    return [path for package in ("dbviz_ray", "analysis") for path in sorted((ROOT / package).rglob("*.py"))]


def test_the_architecture_page_shows_these_rooms():
    page, picture = ((ROOT / "docs" / name).read_text() for name in ("architecture.md", "rooms.svg"))
    rows = [re.findall(r"`([^`]+)`", cell) for cell in re.findall(r"^\| \d+ \| (.*?) \|", page, re.MULTILINE)]
    told = [[name.removeprefix("dbviz_ray/").removesuffix(".py").rstrip("/") for name in row] for row in rows]
    assert told == [[room.removeprefix("dbviz_ray.").replace(".", "/") for room in row] for row in ROOMS]
    assert all(name in picture for row in rows for name in row if name.endswith("/"))


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_downwards_and_only_the_cluster_knows_ray(path):
    module, imported = module_of(path), imported_modules(path)
    assert "cluster" in path.parts or "ray" not in {name.split(".")[0] for name in imported}
    if module in ("dbviz_ray", "analysis"):
        return  # the package's face hands names on
    own = room_of(module)
    assert own is not None, f"{module} stands in no room"
    rooms = {name: room_of(name) for name in imported}
    upwards = [name for name, room in rooms.items() if room is not None and ORDER.index(room) < ORDER.index(own)]
    assert not upwards, f"{module} imports {upwards}"


def test_the_analysis_needs_no_torch():
    """All of it but `compare`, which runs networks, and the notebook, which draws comparisons too."""
    light = ("scores", "statistics", "tables", "findings", "figures", "report", "tracking")
    names = [f"dbviz_ray.{module_of(path)}" for room in light for path in (ROOT / "analysis" / room).rglob("*.py")]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert result.stdout == "False\n"


def test_lock_and_recipe_have_the_versions_of_the_project():
    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    pins = re.findall(r"^(\S+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert {(plain(name), version) for name, version in pins} == {
        (package["name"], package["version"]) for package in locked if "registry" in package["source"]
    }
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras, recipe = project["optional-dependencies"], (ROOT / ".conda/recipe.yaml").read_text()
    for needed in (*project["dependencies"], *extras["sweep"], *extras["mlflow"]):
        name, version = re.fullmatch(r"([\w-]+)(?:\[\w+\])?(>=.*)", needed).groups()
        called = {"torch": "pytorch", "ray": "ray-tune", "matplotlib": "matplotlib-base"}.get(name, name)
        assert f"- {called} {version}\n" in recipe
    assert f"version: {project['version']}\n" in recipe


def test_rooms_and_files_are_few_and_short():
    assert len(ROOMS) <= 16
    files = source_files()
    lengths = [len(path.read_text().splitlines()) for path in files]
    in_tests = sum(len(path.read_text().splitlines()) for path in (ROOT / "tests").rglob("*.py"))
    assert max(lengths) <= 350
    assert median(lengths) < 200
    assert len(files) <= MOST_FILES
    assert sum(lengths) <= MOST_LINES
    assert in_tests <= MOST_TEST_LINES


def test_the_readme_and_ci_give_the_same_test_command():
    assert TEST_COMMAND in (ROOT / ".ci" / "run").read_text()
    assert TEST_COMMAND in (ROOT / "README.md").read_text()
