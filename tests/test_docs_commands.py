"""Every command and all Python in the pages runs, or is checked as far as possible here."""

import re
import runpy
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
import yaml
from matplotlib import pyplot as plt
from support.documents import PAGES, ROOT, blocks, commands

from dbviz_ray import score, sweep
from dbviz_ray.__main__ import COMMANDS, main
from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.registry import check_architecture
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.config.validation import validated
from dbviz_ray.terminal.arguments import Parser

OWN_MODELS, *OTHERS = (ROOT / "docs" / name for name in ("own_models.md", "own_sweeps.md", "index.md"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
QUICK = ["--planes", "6", "--resolution", "8", "--device", "cpu"]
"""More options for comparisons, so that they take a second."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """Names that the Python in docs/own_models.md defines, for other pages."""
    return {}


@pytest.fixture(scope="module")
def workplace(undisturbed, names, tmp_path_factory) -> Iterator[Path]:
    """A folder with a small finished run in place of the pages' large one, and with the files of these pages."""
    place = tmp_path_factory.mktemp("workplace")
    run = place / "runs" / "double_descent_digits"
    shutil.copytree(undisturbed[0], run)
    databases = (sqlite3.connect(folder / "mlflow.db") for folder in (undisturbed[0].parent, run.parent))
    with closing(next(databases)) as there, closing(next(databases)) as here:
        there.backup(here)
    found = [block for page in (OWN_MODELS, *OTHERS) for block in blocks("python", "yaml", page=page)]
    files = {block.file: block.text for block in found if block.file}
    for file, text in files.items():
        (place / file).write_text(text)
    with pytest.MonkeyPatch.context() as patch, mpl.rc_context({"backend": "agg"}):
        patch.chdir(place)
        patch.syspath_prepend(place)
        run_python(OWN_MODELS, names)
        yield place
        plt.close("all")
    for file in files:
        sys.modules.pop(file.removesuffix(".py"), None)


def run_python(page: Path, names: dict[str, Any]) -> None:
    for block in blocks("python", page=page):
        if not block.file:
            exec(compile(block.text, str(block), "exec"), names)


def words_of(command: str) -> list[str]:
    printed = subprocess.run(["bash", "-c", f"printf '%s\\n' {command}"], capture_output=True, text=True).stdout
    return printed.split("\n")[:-1]


def runs(main: Callable[[list[str]], int], *more: str, skip: int = 3) -> Callable[[str], None]:
    """A check that runs a command in this process, where slow imports are done."""

    def check(command: str) -> None:
        assert main([*words_of(command)[skip:], *more]) == 0

    return check


def parses(command: str) -> None:
    subprocess.run(["bash", "-n"], input=command, text=True, check=True, capture_output=True)


def names_files(command: str) -> None:
    assert all((ROOT / word).is_file() for word in words_of(command) if word.startswith("docs/"))


def loads(command: str) -> None:
    """The sweep exists, and its overrides and options are allowed."""
    parsed = sweep.parser().parse_args(words_of(command)[3:])
    load_sweep(*sweep.sweep_and_overrides(parsed.sweep))


def is_understood(command: str) -> None:
    """The options of a comparison, its architectures and its data set."""
    parsed = score.parser().parse_args(words_of(command)[3:])
    assert [check_architecture(model) for model in parsed.models] == parsed.models
    assert validated(DatasetConfig, {"name": parsed.data, **parsed.data_options}).name == parsed.data


def is_asked(command: str) -> None:
    """The options of a subcommand before `--` exist."""
    _, name, *words = words_of(command)
    module, request, _ = COMMANDS[name]
    own = words[: words.index("--")] if "--" in words else words
    Parser(name, getattr(import_module(module), request)).parse_args(own)


def installs(command: str) -> None:
    """The packages and files that a command names exist; installing would take minutes."""
    for part in command.split(" && "):
        words = shlex.split(part)
        if words[:2] in (["python3", "-m"], [".", ".venv/bin/activate"]):
            parses(part)
        elif words[0].endswith("pip"):
            assert words[1] == "install"
            extras = PYPROJECT["optional-dependencies"]
            packages = {re.split(r"[^\w-]", needed)[0] for extra in extras.values() for needed in extra}
            assert all(extra in extras for named in re.findall(r"\[(.*?)\]", part) for extra in named.split(","))
            assert all((ROOT / words[at + 1]).is_file() for at, word in enumerate(words) if word == "-c")
            named = [word for word in words[2:] if re.fullmatch(r"\w+", word)]
            assert all(name in packages for name in named)
        elif words[0].endswith("pytest"):
            assert all((ROOT / word).is_file() for word in words[1:] if word.endswith(".py"))
        else:
            check_of(part.replace(".venv/bin/", "", 1))(part)


def runs_a_script(command: str) -> None:
    _, script, *arguments = words_of(command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *arguments])
        runpy.run_path(script if Path(script).exists() else str(ROOT / script), run_name="__main__")


def is_a_script(command: str) -> None:
    file = ROOT / words_of(command)[1]
    compile(file.read_text(), str(file), "exec")


def is_documented_by(module: str, command: str) -> None:
    """The subcommand, its options and cluster files exist."""
    from click.testing import CliRunner

    cli = import_module(module).cli
    words = shlex.split(re.sub(r"^(\w+=\S+ )*(python -m )?", "", command))
    name = words[1:3] if words[1] == "job" else words[1:2]
    help_text = CliRunner().invoke(cli, [*name, "--help"])
    assert help_text.exit_code == 0
    for option in words[1:]:
        if option in ("--", "|", ">", "&&"):
            break
        if option.startswith("-"):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", help_text.output), option
    for file in (word for word in words if word.endswith(".yaml")):
        assert yaml.safe_load((ROOT / file).read_text())["cluster_name"]
    for inner in re.findall(r"python -m dbviz_ray\.sweep [^']*", command):
        loads(inner)


CHECKS: list[tuple[str, Callable[[str], None], str]] = [
    (r"python -m dbviz_ray\.score .*--data (cifar10|image_folder)", is_understood, "needs a download or pictures"),
    (r"python -m dbviz_ray\.score ", runs(score.main, *QUICK), ""),
    (r"dbviz-ray figures \S+$", runs(main, "margins", skip=1), "one of them: tests/figures draw all"),
    (r"dbviz-ray figures runs/(?!double_descent_digits)", is_asked, "needs another run: tests/figures draw all"),
    (r"dbviz-ray (figures|disagreement) ", runs(main, skip=1), ""),
    (r"python -m dbviz_ray\.sweep (my_sweep|\w+_digits).* --plan", runs(sweep.main), ""),
    (r"dbviz-ray (repeat|compare|gate) ", is_asked, "needs files; tests/predictions and tests/scripts run them"),
    (r"python -m dbviz_ray\.sweep mine\.yaml", parses, "its YAML is loaded below; tests/scripts runs one"),
    (r"python -m dbviz_ray\.sweep ", loads, "takes minutes, or GPUs; tests/stages runs small ones"),
    (r"python docs/configuration\.py$", parses, "tests/config compares the pages"),
    (r"python (docs/pictures|train)\.py ", runs_a_script, ""),
    (r"python tests/", is_a_script, "takes minutes; other tests run short forms"),
    (r"(python -m )?mlflow ui", lambda command: is_documented_by("mlflow.cli", command), "a server that does not end"),
    (r"MLFLOW_TRACKING_URI=\S+ python -m dbviz_ray\.sweep ", lambda of: loads(of.partition(" ")[2]), "tests/tracking"),
    (r"(\w+=\S+ )*ray ", lambda command: is_documented_by("ray.scripts.scripts", command), "needs a cluster"),
    (r"python3 -m venv|\.venv/bin/|pip install", installs, "downloads 5.4 GB"),
    (r"uv run --extra all ", lambda of: loads(f"- - - {of.partition('sweep ')[2]}"), "downloads 5.4 GB"),
    (r"sbatch .*slurm\.sh ", lambda of: loads(f"- - - {of.partition('slurm.sh ')[2]}"), "tests/cluster/test_slurm.py"),
    (r"sbatch .*slurm\.sh$", parses, "tests/cluster/test_slurm.py"),
    (r"(kubectl|docker) ", names_files, "needs a Kubernetes cluster, or Docker; tests/cluster/test_kubernetes.py"),
    (r"aws |gcloud |\w+=|export |cat > policy\.json|chmod |\. \.venv", parses, "needs a cloud account, or a shell"),
]
"""Beginnings of commands, how each is checked, and why it is not run."""


def check_of(command: str) -> Callable[[str], None]:
    found = [check for pattern, check, _ in CHECKS if re.match(pattern, command)]
    assert found, f"no check for: {command}"
    return found[0]


@pytest.mark.parametrize(
    "command", sorted({command for page in PAGES for command in commands(page)}), ids=lambda command: command[:80]
)
def test_a_command(command, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    parses(command)
    check_of(command)(command)


@pytest.mark.parametrize("page", [page for page in PAGES if page != OWN_MODELS], ids=lambda page: page.name)
def test_the_python_of_a_page(page, workplace, names, monkeypatch):
    monkeypatch.chdir(workplace)
    run_python(page, dict(names))


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_a_sweep_in_a_page_loads(block, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    file = workplace / "in_a_page.yaml"
    file.write_text(block.text)
    assert load_sweep(str(file)).models()
