"""The command `dbviz-ray`: dispatch, help, version, completion; and a user's own analysis.py beside it."""

import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from unittest.mock import Mock

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
    assert run_command("dbviz-ray x", Mock(side_effect=error)) == code
    assert capsys.readouterr().err.count("\n") == 1


HELP = f"""
import sys
from dbviz_ray.__main__ import main
for words in (["--version"], ["--help"], [], *([name, "--help"] for name in {list(COMMANDS)})):
    try:
        main(words)
    except SystemExit as stop:
        assert stop.code in (0, None)
print("loaded:", [name for name in {HEAVY} if name in sys.modules])
"""
SWEEP = """
from dbviz_ray import compare, load_run, plot_curve
from dbviz_ray.__main__ import main
raise SystemExit(main(["sweep", "double_descent_digits", "grid.width=[3]", "--plan"]))
"""
LIGHT = """
import sys
sys.modules |= dict.fromkeys(("torch", "torchvision", "ray", "sklearn", "mlflow"))  # an import of one fails
from dbviz_ray import load_run
from dbviz_ray.__main__ import main
assert main(["compare", "old.csv", "old.csv"]) == main(["gate", "old.csv", "old.csv", "--max-churn", "60%"]) == 0
raise SystemExit(main(["sweep", "double_descent_digits"]))
"""


@pytest.fixture(scope="module")
def beside_own_modules(tmp_path_factory):
    """A user's folder, with modules that raise if anybody imports them, and predictions."""
    folder = tmp_path_factory.mktemp("user")
    for name in ("analysis.py", "sweeps.py"):
        (folder / name).write_text("raise ImportError\n")
    (folder / "old.csv").write_text("prediction\n" + "0\n1\n" * 20)
    return folder


@pytest.mark.slow
def test_version_and_help_import_nothing_heavy_and_no_command_the_users_modules(beside_own_modules):
    """tests/stages/test_sweep_processes.py has them beside a whole sweep."""
    result = python("-c", HELP + SWEEP, folder=beside_own_modules)
    assert result.returncode == 0, result.stderr
    assert version("dbviz-ray") in result.stdout
    assert "loaded: []" in result.stdout


@pytest.mark.slow
def test_predictions_need_only_a_light_install_and_what_needs_more_names_the_extra(beside_own_modules):
    result = python("-c", LIGHT, folder=beside_own_modules)
    assert result.returncode == 1, result.stderr
    assert result.stderr.splitlines()[-1].endswith("pip install 'dbviz-ray[sweep]'")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_knows_commands_and_their_options(shell, capsys):
    assert main(["--print-completion", shell]) == 0
    text = capsys.readouterr().out
    assert all(word in text for word in (*COMMANDS, "--plan", "--weights-key", "--resolution"))


@pytest.mark.slow
def test_the_installed_command_finds_the_users_modules(tmp_path):
    (tmp_path / "own.py").write_text("def small():\n    pass\n")
    words = ["score", "a.pt", "b.pt", "--model", "own:small", "--data", "digits"]
    command = [Path(sys.executable).with_name("dbviz-ray"), *words]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "'a.pt' does not exist" in result.stderr


def test_an_unknown_command_is_a_mistake(capsys):
    assert main(["swep"]) == 2
    assert "sweep" in capsys.readouterr().err


@pytest.mark.slow
def test_the_wheel_of_the_source_archive_is_complete_and_works_beside_the_users_modules(beside_own_modules, tmp_path):
    skipped = ".venv", ".git", "build", "*.egg-info", "runs", "__pycache__"
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(ROOT, source, symlinks=True, ignore=shutil.ignore_patterns(*skipped))
    built = python("-m", "build", "-q", folder=source)
    assert built.returncode == 0, built.stderr
    [wheel], [archive] = source.glob("dist/*.whl"), source.glob("dist/*.tar.gz")
    checked = python("-m", "twine", "check", "--strict", str(wheel), str(archive), folder=source)
    assert checked.returncode == 0, checked.stdout
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [path for top in ("", "/analysis", "/sweeps") for path in source.glob(f"dbviz_ray{top}/**/*.*")]
    assert {str(path.relative_to(source)) for path in files if path.is_file()} <= names
    assert not [name for name in names if not name.startswith("dbviz_ray")]
    installed = python("-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel), folder=tmp_path)
    assert installed.returncode == 0, installed.stderr
    for program in (HELP + SWEEP, LIGHT):
        where = f"import sys; sys.path.insert(0, {str(site)!r}); import dbviz_ray; print(dbviz_ray.__file__)\n"
        result = python("-c", where + program, folder=beside_own_modules)
        assert result.returncode == (program is LIGHT), result.stderr
        assert result.stdout.startswith(str(site))


@pytest.mark.parametrize(("where", "code", "lines"), [("| head -c 9", 141, 0), ("> /dev/full", 1, 1), (">&-", 0, 0)])
def test_output_that_nobody_takes_ends_a_command_without_a_traceback(where, code, lines):
    program = "from dbviz_ray.terminal import run_command as run; exit(run('x', lambda: print('y' * 10**6)))"
    command = f'{sys.executable} -c "{program}" {where}; exit ${{PIPESTATUS[0]}}'
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (code, lines), ended.stderr
