"""Which figures a sweep has, that they are drawn from its tables, and the command that draws them again."""

import re

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from matplotlib.collections import PathCollection
from support.documents import ROOT
from support.drawn_figures import caption_of, drawn, drawn_one, tabulated
from support.made_up_runs import CASES, CROSSED, RECIPES, made_up_run

from dbviz_ray.__main__ import main
from dbviz_ray.analysis.figures import FIGURES, figures_of
from dbviz_ray.analysis.figures.drawing import draw_figures
from dbviz_ray.analysis.figures.sweep_tables import representative_groups
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.config.sweep_files import embedded_sweeps, load_sweep
from dbviz_ray.formatting import score_cell

AGREEING = {"disagreement", "reproducibility_matrix", "by_recipe"}
COMPARED = AGREEING | {"architectures"}
ALONE = {"disagreement", "decision_regions"}


@pytest.mark.parametrize("name", [name for name in embedded_sweeps() if name.endswith("_digits")])
def test_a_sweep_has_the_figures_whose_rows_name_it(name):
    pattern = r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| [^|]+ \|$"
    rows = re.findall(pattern, (ROOT / "docs/figures.md").read_text(), flags=re.MULTILINE)
    named = {figure for figure, sweeps in rows if sweeps == "all" or f"`{name.removesuffix('_digits')}`" in sweeps}
    assert set(figures_of(load_sweep(name))) == named


@pytest.mark.parametrize(
    ("fields", "has", "lacks"),
    [
        ({}, ALONE, {*COMPARED, "epochs", "plane_sets", "margins", "resolution"} - ALONE),
        ({"planes": {"test": {"resolution": 51}}, "scores": ["reproducibility"]}, ALONE, {"resolution"}),
        ({"training": {"epochs": 3, "snapshots": [1]}}, ALONE | {"epochs", "training"}, {"error_surface"}),
        ({"cases": CASES, "grid": {"seed": [0, 1]}}, COMPARED, {"recipe_table", "decision_regions"}),
        ({"grid": {"recipes": RECIPES}}, COMPARED | {"recipe_table"}, {"decision_regions"}),
        ({"grid": {"recipes": RECIPES}, "scores": ["fragmentation"]}, {"architectures"}, {"recipe_table", *AGREEING}),
        ({"grid": {"learning_rate": [0.1, 0.01]}}, ALONE | {"learning_rates"}, {"by_recipe"}),
    ],
)
def test_what_a_sweep_varies_decides_its_figures(fields, has, lacks):
    figures = set(figures_of(small_sweep(**fields)))
    assert has <= figures
    assert not lacks & figures


STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "gif": b"GIF8", "tex": b"%"}
CURVES = {
    "grid": {"width": [2, 4, 8], "label_noise": [0.0, 0.1, 0.2], "seed": [0]},
    "training": {"epochs": 9, "snapshots": [1, 3]},
    "scores": ["fragmentation"],
    "planes": {"test": {"resolution": 8}, "noise": {"resolution": 6, "off_manifold": "uniform_noise"}},
    "margins": {"images": 12, "directions": 3},
}
COMPARING = {"cases": CASES, "grid": {"recipes": RECIPES, "learning_rate": [0.1, 0.01], "seed": [0, 1]}}
STREAMS = {"grid": CROSSED, "planes": {"test": {"count": 2, "resolution": 51}}}


def test_every_figure_is_stored_in_every_format(tmp_path, finished_run):
    store, sweep = finished_run
    stored = dict.fromkeys(figures_of(sweep), store)
    for number, fields in enumerate([CURVES, COMPARING, STREAMS]):
        sweep = small_sweep(**fields)
        names = figures_of(sweep).keys() - stored.keys()
        store = tabulated(made_up_run(tmp_path / str(number), sweep), sweep)
        stored |= dict.fromkeys(draw_figures(store, sweep, names), store)
    assert stored.keys() == FIGURES.keys()
    for name, store in stored.items():
        for suffix in FIGURES[name].suffixes:
            assert store.read(store.figure_file(name, suffix)).startswith(STARTS[suffix])


def test_curves_over_width_and_epochs(tmp_path):
    training = {"epochs": 4, "batch_size": 64, "snapshots": [1, 2]}
    grid = {"width": [2, 4, 8], "label_noise": [0.0, 0.2], "seed": [0, 1, 2]}
    peaked = {2: 0.8, 4: 0.9, 8: 0.1}
    sweep = small_sweep(grid=grid, training=training)
    assert ALONE | {"double_descent", "epochs", "error_surface", "training"} <= figures_of(sweep).keys()
    curves = {"double_descent": "width", "epochs": "epoch"}
    _, figures = drawn(tmp_path, sweep, error=lambda model, epoch: peaked[model.width] / epoch, only=list(curves))
    for name, axis in curves.items():
        error, *_, regions, agreement = figures[name].axes
        assert agreement.get_xlabel() == axis
        assert all(len(line.get_xdata()) in (2, 3) for line in (*error.lines, *regions.lines))
    assert "3 of 6 curves; 3 trainings a point, 6 planes" in caption_of(figures["epochs"])


def test_the_matrix_and_table_1_show_the_values_of_the_tables(tmp_path):
    """Of two architectures by two recipes; one with SGD diverged. Table 1 is a picture, and for LaTeX."""
    sweep = small_sweep(cases=CASES, grid={"recipes": RECIPES, "seed": [0, 1, 2]})
    store, figures = drawn(tmp_path, sweep, diverged=lambda m: (m.recipe, m.architecture) == ("SGD", "vit"))
    panel = figures["reproducibility_matrix"].axes[0]
    shown = np.ma.filled(panel.images[0].get_array(), np.nan)
    names = [label.get_text() for label in panel.get_xticklabels()]
    assert names == ["fully connected network, Adam", "fully connected network, SGD", "ViT, Adam", "ViT, SGD"]
    groups, between = read_table(store, "groups"), read_table(store, "between_groups")
    assert np.diag(shown) == pytest.approx(groups["reproducibility"], nan_ok=True)
    assert sorted(shown[:3, :3][np.triu_indices(3, 1)]) == pytest.approx(sorted(between["reproducibility"]))
    assert np.isnan([shown[3], shown[:, 3]]).all()
    assert "3 diverged trainings are left out" in caption_of(figures["reproducibility_matrix"])
    cells = read_table(store, "by_recipe").set_index(["architecture", "recipe"])
    latex = store.read(store.figure_file("recipe_table", "tex")).decode()
    shown = [text.get_text() for text in figures["recipe_table"].axes[0].texts]
    for network, recipe in (("fully_connected", "Adam"), ("fully_connected", "SGD"), ("vit", "Adam")):
        cell = cells.loc[(network, recipe)]
        same, right = (str(score_cell(cell, score, 1, scale=100)) for score in ("reproducibility", "accuracy"))
        assert {same, f"({right})"} <= set(shown)
        assert f"{same} ({100 * cell['accuracy']:.1f})" in latex
    assert "diverged" in shown
    assert "fully connected network & " in latex
    assert latex.splitlines()[-1].endswith(r"\end{tabular}")


def test_a_point_for_every_group_of_table_1(tmp_path):
    sweep = small_sweep(cases=CASES, grid={"recipes": RECIPES, "label_noise": [0.0, 0.2], "seed": [0, 1, 2]})
    store, figure = drawn_one(tmp_path, sweep, "by_recipe")
    panels = figure.axes
    assert [panel.get_title() for panel in panels] == ["label noise 0", "label noise 0.2"]
    groups = read_table(store, "groups")
    for panel, noise in zip(panels, (0.0, 0.2), strict=True):
        points = [(float(c.lines[0].get_xdata()[0]), float(c.lines[0].get_ydata()[0])) for c in panel.containers]
        rows = groups[groups["label_noise"] == noise]
        np.testing.assert_allclose(points, np.stack([1 - rows["test_error"], rows["reproducibility"]], axis=1))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Adam", "SGD", "", "fully connected network", "ViT"]


def test_learning_rates_mark_the_best_and_what_diverged(tmp_path):
    grid = {"learning_rate": [0.001, 0.01, 0.1, 1.0], "recipes": RECIPES, "seed": [0, 1, 2]}
    _, figures = drawn(tmp_path, small_sweep(grid=grid), only=["by_recipe", "learning_rates"],
                       diverged=lambda m: m.training.learning_rate == 1 and (m.recipe == "SGD" or m.seeds.init == 0),
                       error=lambda m, epoch: 0.1 if m.training.learning_rate == 0.01 else 0.8)  # fmt: skip
    error, agreement = figures["learning_rates"].axes
    assert [text.get_text() for text in error.texts] == ["x1", "x3"]
    for axes in (error, agreement):
        rings = [c.get_offsets()[0][0] for c in axes.collections if isinstance(c, PathCollection)]
        assert rings == [0.01, 0.01]
    caption = caption_of(figures["learning_rates"])
    assert "4 diverged trainings are left out (x: how many diverged)" in caption


def test_regions_of_at_most_six_groups_are_shown(tmp_path):
    recipes = {f"recipe{n}": {"weight_decay": n / 100} for n in range(13)}
    sweep = small_sweep(grid={"recipes": recipes, "seed": [0, 1]})
    store, figure = drawn_one(tmp_path, sweep, "architectures", error=lambda m, epoch: 5 * m.training.weight_decay)
    groups = read_table(store, "groups")
    rows, _ = representative_groups(groups, pd.DataFrame())
    assert rows["text"].iloc[0] == "recipe0"
    assert rows["reproducibility"].is_monotonic_decreasing
    assert len(rows) == 6
    assert len(figure.axes) == 12 * (2 + 1)
    assert rows["reproducibility"].iloc[0] == groups["reproducibility"].max()


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
