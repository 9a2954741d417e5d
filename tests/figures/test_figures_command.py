"""The command `dbviz-ray figures`: its output and its errors."""

import pytest

from dbviz_ray.redraw import main


def test_one_figure_is_redrawn(copied_run, capsys):
    run, _ = copied_run
    before = run.read(run.figure_file("plane_sets"))
    for name in ("plane_sets", "decision_regions"):
        run.remove(run.figure_file(name))
    assert main(["figures", run.root, "plane_sets"]) == 0
    assert run.read(run.figure_file("plane_sets")) == before
    assert not run.exists(run.figure_file("decision_regions"))
    assert capsys.readouterr().out.splitlines()[0] == run.path(run.figure_file("plane_sets"))


@pytest.mark.parametrize(
    ("damage", "figures", "code", "told"),
    [
        (lambda run: run.remove("sweep.yaml"), [], 2, "sweep.yaml"),
        (lambda run: None, ["epochs"], 2, "figure: 'epochs' "),
        (lambda run: run.remove(run.scores_file("groups")), [], 2, "groups"),
        (lambda run: run.write(run.scores_file("groups"), b"PAR1"), ["plane_sets"], 1, "scores/groups.parquet"),
        (lambda run: [run.remove_folder(name) for name in ("labels", "pictures")], ["disagreement"], 1, "labels/"),
    ],
)
def test_what_cannot_be_drawn_is_one_line_that_names_it(copied_run, damage, figures, code, told, capsys):
    run, _ = copied_run
    damage(run)
    assert main(["figures", run.root, *figures]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
