"""The command `dbviz-ray`: dispatch, help, version, completion; and a user's own analysis.py beside it."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from support.documents import ROOT

from dbviz_ray.__main__ import COMMANDS, main
from dbviz_ray.errors import StageFailedError, StorageError, UserError
from dbviz_ray.terminal import run_command

HEAVY = ("torch", "ray", "mlflow", "matplotlib")


def python(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=280)


@pytest.mark.parametrize(
    ("error", "code"),
    [(UserError("--out", "x"), 2), (StageFailedError("no"), 1), (StorageError("full"), 1), (KeyboardInterrupt(), 130)],
)
def test_an_error_is_one_line_and_an_exit_code(error, code, capsys):
    def fail():
        raise error

    assert run_command("dbviz-ray x", fail) == code
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_version_and_help_import_nothing_heavy_and_no_command_the_users_analysis_and_sweeps(tmp_path):
    """Which raise if anybody imports them; tests/stages/test_sweep_processes.py has them beside a whole sweep."""
    for name in ("analysis.py", "sweeps.py"):
        (tmp_path / name).write_text("raise ImportError\n")
    code = f"""
import sys
from dbviz_ray.__main__ import main
for words in (["--version"], ["--help"], [], *([name, "--help"] for name in {list(COMMANDS)})):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code in (0, None)
print("loaded:", [name for name in {HEAVY} if name in sys.modules])
from dbviz_ray import compare, load_run, plot_curve
raise SystemExit(main(["sweep", "double_descent_digits", "grid.width=[3]", "--plan"]))
"""
    result = python("-c", code, folder=tmp_path)
    assert result.returncode == 0, result.stderr
    assert version("dbviz-ray") in result.stdout
    assert "loaded: []" in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_their_options(shell, capsys):
    assert main(["--print-completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in (*COMMANDS, "--plan", "--weights-key", "--resolution"))


def test_an_unknown_command_is_a_mistake(capsys):
    assert main(["swep"]) == 2
    assert "sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_a_wheel_holds_every_package_with_analysis_and_sweeps_inside(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info"))
    result = python("-m", "pip", "wheel", "-q", "--no-deps", "-w", str(tmp_path), str(source), folder=tmp_path)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    patterns = ("analysis/**/*.py", "analysis/report/templates/*", "sweeps/*.yaml")
    packed = {f"dbviz_ray/{path.relative_to(ROOT)}" for pattern in patterns for path in ROOT.glob(pattern)}
    packed |= {str(path.relative_to(ROOT)) for path in ROOT.glob("dbviz_ray/**/*.py")}
    assert packed <= names
    assert not [name for name in names if name.startswith(("analysis/", "sweeps/", "tests/"))]


@pytest.mark.parametrize(("where", "code", "lines"), [("| head -c 9", 141, 0), ("> /dev/full", 1, 1), (">&-", 0, 0)])
def test_output_that_nobody_takes_ends_a_command_without_a_traceback(where, code, lines):
    program = "from dbviz_ray.terminal import run_command as run; exit(run('x', lambda: print('y' * 10**6)))"
    command = f'{sys.executable} -c "{program}" {where}; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, lines), ended.stderr
