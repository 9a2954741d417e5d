"""The command `dbviz-ray figures`: its help, its output and its errors."""

from __future__ import annotations

import shutil

import pytest

from dbviz_ray.analysis.figures import FIGURES
from dbviz_ray.redraw import main
from dbviz_ray.store import Store


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run."""
    shutil.copytree(finished_run[0].root, tmp_path / "run")
    return Store(tmp_path / "run")


def said(capsys) -> str:
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1
    return text


def test_the_help_names_every_figure(capsys):
    with pytest.raises(SystemExit):
        main(["figures", "--help"])
    text = capsys.readouterr().out
    assert all(f"  {name} " in text and kind.sweeps in text for name, kind in FIGURES.items())


def test_one_figure_is_redrawn(run, capsys):
    before = run.read(run.figure_file("plane_sets"))
    for name in ("plane_sets", "decision_regions"):
        run.remove(run.figure_file(name))
    assert main(["figures", run.root, "plane_sets"]) == 0
    assert run.read(run.figure_file("plane_sets")) == before
    assert not run.exists(run.figure_file("decision_regions"))
    assert capsys.readouterr().out.splitlines()[0] == run.path(run.figure_file("plane_sets"))


def test_no_run_and_no_such_figure(run, tmp_path, capsys):
    assert main(["figures", str(tmp_path / "nothing")]) == 2
    assert "holds no sweep.yaml" in said(capsys)
    assert main(["figures", run.root, "epochs"]) == 2
    assert "figure: 'epochs' is not one of this sweep; allowed: decision_regions, " in said(capsys)


def test_a_run_that_is_not_analysed(run, capsys):
    run.remove(run.scores_file("groups"))
    assert main(["figures", run.root]) == 2
    assert "has no table groups" in said(capsys)


def test_a_damaged_table_and_a_label_map_that_is_missing(run, capsys):
    whole = run.read(run.scores_file("groups"))
    run.write(run.scores_file("groups"), whole[:500])
    assert main(["figures", run.root, "plane_sets"]) == 1
    assert "scores/groups.parquet is damaged" in said(capsys)
    run.write(run.scores_file("groups"), whole)
    run.remove(run.files("labels/plane_set=test")[0])
    assert main(["figures", run.root, "decision_regions"]) == 1
    assert "is not complete" in said(capsys)
