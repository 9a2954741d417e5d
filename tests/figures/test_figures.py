"""Which figures a sweep has, that they are drawn from its tables, and the commands that draw them again, or a pair."""

import itertools
import re
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from matplotlib.collections import PathCollection
from support.documents import ROOT
from support.drawn_figures import caption_of, drawn, drawn_one
from support.made_up_runs import CASES, CROSSED, RECIPES, analysed, labels_of, made_up_run, predictions_of
from support.refusals import refused

from dbviz_ray.__main__ import main
from dbviz_ray.analysis.figures import FIGURES, figures_of
from dbviz_ray.analysis.figures.disagreement import disagreement_of
from dbviz_ray.analysis.figures.drawing import draw_figures
from dbviz_ray.analysis.figures.sweep_tables import choose_model, representative_groups, short_names
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
        store = analysed(made_up_run(tmp_path / str(number), sweep), sweep)
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
    assert (len(rows), len(figure.axes)) == (6, 12 * (2 + 1))
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


SNAPSHOTS = small_sweep(training={"epochs": 3, "batch_size": 64, "snapshots": [1, 2]})


def test_a_model_is_named_by_a_part_of_its_id_that_no_other_has():
    first, *_, last = SNAPSHOTS.models()
    found = [choose_model(SNAPSHOTS, first.model_id, epoch=2)]
    found += [choose_model(SNAPSHOTS, name) for name in ("w4-adam-noise0-seed0", "w16-adam-noise0.2-seed2@1")]
    assert [(model.config, model.epoch) for model in found] == [(first, 2), (first, 3), (last, 1)]


@pytest.mark.parametrize("name", ["w4-", "vit", "w4-adam-noise0-seed0@7", "w4-adam-noise0-seed0@x"])
def test_a_name_that_means_no_model_or_several_is_refused(name):
    mistake = refused(choose_model, SNAPSHOTS, name)
    assert (mistake.field, mistake.value) == ("model", SNAPSHOTS.models()[0].model_id if "@" in name else name)
    assert ("1, 2, 3" in mistake.allowed) == ("@" in name)


def test_models_are_called_by_what_tells_them_apart():
    models = [choose_model(SNAPSHOTS, f"w{width}-adam-noise0-seed{seed}") for width, seed in ((4, 0), (16, 1))]
    assert short_names(models) == (["w4 seed0", "w16 seed1"], "fully_connected adam noise0")
    early = choose_model(SNAPSHOTS, models[0].model_id, epoch=1)
    assert short_names([models[0], early]) == (["epoch 3", "epoch 1"], "fully_connected w4 adam noise0 seed0")


def test_the_third_map_shows_what_the_second_says_where_it_differs(made_up):
    store, sweep, _ = made_up
    models = choose_model(sweep, "w4-adam-noise0-seed0"), choose_model(sweep, "w16-adam-noise0.25-seed1")
    first, second, where = disagreement_of(store, sweep, models, "train", 2).axes
    maps = [store.read_label_maps("train", model.model_id, 3)[2] for model in models]
    for axes, label_map in zip((first, second), maps, strict=True):
        assert np.array_equal(axes.images[0].get_array(), label_map)
    shown, same = where.images[0].get_array(), maps[0] == maps[1]
    assert 0 < same.mean() < 1
    assert np.array_equal(np.ma.getmaskarray(shown), same)
    assert np.array_equal(shown.data[~same], maps[1][~same])
    assert where.get_title() == f"they differ on {1 - same.mean():.0%} of the points"
    assert first.get_title() == "w4 noise0 seed0"


def test_a_sweep_shows_its_least_and_its_most_reproducible_trainings(tmp_path):
    sweep = small_sweep(grid={"width": [2, 4, 8], "seed": [0, 1]})
    store, figure = drawn_one(tmp_path, sweep, "disagreement", error=lambda model, _: 1 / model.width)
    axes = figure.axes
    assert [row.get_ylabel().splitlines()[0] for row in axes[::3]] == ["width 2", "width 8"]
    models = [model for model in sweep.models() if model.width == 2]
    for shown, maps in zip(axes[:2], labels_of(store, "test", models), strict=True):
        assert np.array_equal(shown.images[0].get_array(), maps[0])


def test_the_most_contested_images_have_the_votes_of_all_trainings(tmp_path):
    sweep = small_sweep(grid={"width": [2, 4, 8], "seed": [0, 1, 2, 3]}, planes={"test": {"count": 3, "resolution": 4}})
    store, figure = drawn_one(tmp_path, sweep, "contested_images", error=lambda model, _: 1 / model.width)
    assert [axes.get_ylabel().splitlines()[0] for axes in figure.axes[::4]] == ["width 2", "width 4", "width 8"]
    assert "of the 9 test images" in caption_of(figure)
    for width, row in zip((2, 4, 8), np.array(figure.axes).reshape(3, 4), strict=True):
        tests = [predictions_of(store, m, "test") for m in sweep.models() if m.width == width]
        predicted = np.stack([test["predicted"] for test in tests])[:, :9]  # planes go through the first nine
        differing = sum((a != b).astype(int) for a, b in itertools.combinations(predicted, 2))
        ranked = [index for index in np.argsort(-differing, kind="stable") if differing[index]][:4]
        for axes, index in itertools.zip_longest(row, ranked):
            if index is None:
                assert not axes.axison
                continue
            first, _, votes = axes.get_xlabel().partition("\n")
            assert first == f"image {index}: {'abcd'[tests[0]['true_label'].iloc[index]]}"
            assert dict(re.findall(r"(\w)\s\((\d)\)", votes)) == {
                "abcd"[of]: str(count) for of, count in Counter(predicted[:, index].tolist()).items()
            }
            assert axes.images[0].get_array().shape == (2, 2, 3)


def test_trainings_that_agree_have_no_contested_image(tmp_path):
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]})
    _, figure = drawn_one(tmp_path, sweep, "contested_images", error=lambda *_: 0.0)
    assert "no image on which trainings disagree" in figure.axes[0].texts[0].get_text()


def test_the_command_draws_a_pair(made_up, tmp_path, capsys):
    store, *_ = made_up
    models = ["w4-adam-noise0-seed0", "w4-adam-noise0-seed1"]
    out = tmp_path / "pair.pdf"
    assert main(["disagreement", store.root, *models, "--plane", "3", "--plane-set", "train", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"%PDF")
    for wrong in (tmp_path / "pair.doc", tmp_path / "absent" / "pair.png"):
        assert main(["disagreement", store.root, *models, "--out", str(wrong)]) == 2
        assert capsys.readouterr().err.startswith(f"dbviz-ray disagreement: --out: '{wrong}' is not allowed")
    for absent in (["--plane", "6"], ["--plane-set", "other"]):
        assert main(["disagreement", store.root, *models, *absent]) == 2
