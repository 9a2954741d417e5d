"""--plan and the sweep itself refuse a network alike, before anything is trained."""

import pytest
from conftest import small_sweep
from support.broken_networks import BROKEN, WORKING

from dbviz_ray.planning import step_times
from dbviz_ray.planning.plan import plan
from dbviz_ray.sweep import main

MODULES = {
    "syntax_error": "def build(:",
    "import_fails": "import no_such_module_anywhere",
    "import_stops": "import sys\nsys.exit(4)",
    "import_divides": "1 / 0",
}


def refusals(architecture, tmp_path, capsys):
    """The exit code and the last line on standard error, without --plan and with it."""
    words = [f"grid.architecture=[{architecture}]", "grid.width=[4]", "grid.seed=[0,1]", f"--out={tmp_path / 'run'}"]
    words += ["--address=local", "--stages=train"]
    found = []
    for more in ([], ["--plan"]):
        code = main([*words, *more])
        *_, last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dbviz-ray")]
        found.append((code, last))
    assert not (tmp_path / "run").exists()
    return found


@pytest.mark.parametrize("kind", [*BROKEN, *MODULES])
def test_a_broken_network_or_module_is_refused_alike(kind, tmp_path, capsys, monkeypatch):
    (tmp_path / f"broken_{kind}.py").write_text(MODULES.get(kind, ""))
    monkeypatch.syspath_prepend(tmp_path)
    architecture = f"support.broken_networks:{kind}" if kind in BROKEN else f"broken_{kind}:build"
    of_sweep, of_plan = refusals(architecture, tmp_path, capsys)
    assert of_sweep == of_plan
    assert of_plan[0] == 2
    assert kind in MODULES or f"grid.architecture: '{architecture}'" in of_plan[1]


@pytest.mark.parametrize("kind", WORKING)
def test_unusual_networks_are_planned(kind, monkeypatch):
    monkeypatch.setattr(step_times, "BUDGET_SECONDS", 1.0)
    sweep = small_sweep(grid={"architecture": [f"support.broken_networks:{kind}"], "width": [4], "seed": [0, 1]})
    assert plan(sweep).models == 2
