"""The report of a sweep, as text."""

import pytest
from conftest import small_sweep
from support.html_pages import HOSTILE, report_of
from support.made_up_runs import RECIPES, let_fail, made_up_run

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.findings import read_findings
from dbviz_ray.analysis.report.facts import Trainings, trainings
from dbviz_ray.analysis.scores.groups import records
from dbviz_ray.analysis.tables import read_table
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.store.models import Failure, Outcome

TWO_WIDTHS = {"grid": {"width": [4, 8], "seed": [0, 1, 2]}}


def test_every_finding_and_number_is_in_the_page(tmp_path):
    sweep = small_sweep(**TWO_WIDTHS, description="Which of two widths?")
    store = made_up_run(tmp_path, sweep, error=lambda m, _: 1 / m.width)
    page = report_of(store, sweep)
    assert "Which of two widths?" in page.text
    for sentence in read_findings(store).sentences:
        assert sentence in page.text
    groups = read_table(store, "groups")
    for row in records(groups):
        shown = f"{row['reproducibility']:.3f} [{row['reproducibility_low']:.3f}, {row['reproducibility_high']:.3f}]"
        assert shown in page.text
    worst, best = (f"about {100 - 100 * share:.0f}" for share in sorted(groups["reproducibility"]))
    assert f"{best} of 100 points of a plane at best (width 8) and on {worst} at worst (width 4)." in page.text
    assert f"Not drawn: {', '.join(figure.title for figure in figures_of(sweep).values())}." in page.text
    assert {"scores/groups.csv", "scores/groups.parquet"} <= set(page.references)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_foreign_text_is_escaped_and_lost_models_are_listed(tmp_path):
    sweep = small_sweep(grid={"width": [4, 8, 16], "seed": [0, 1, 2]}, description=HOSTILE)
    store = made_up_run(tmp_path, sweep, diverged=lambda m: m.width == 4 and m.seeds.init == 0)
    let_fail(store, sweep, lambda m: "train" * (m.width == 8))
    for model in sweep.models():
        if model.width == 8:
            store.write_failure(Failure(model.model_id, "train", Outcome.OUT_OF_MEMORY, HOSTILE))
    page = report_of(store, sweep)
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 3
    for told in ("5 of 9 models", "1 diverged while training", "3 out of memory while training",
                 "No training is left for fully connected network, width 8, label noise 0."):  # fmt: skip
        assert told in page.text


def test_the_page_names_differing_versions_the_training_time_and_a_command_for_the_same_sweep(tmp_path):
    sweep = small_sweep(**TWO_WIDTHS)
    store = made_up_run(tmp_path, sweep)
    for model in sweep.models():
        file = store.model_file(model.model_id, "model.json")
        versions = {"torch": "2.6.0" if model.width == 4 else "2.7.0", "numpy": "2.0.1"}
        cost = {"cohort_id": f"w{model.width}", "seconds": 20.0 + model.width}
        store.write_json(file, store.read_json(file) | versions | cost)
    page = report_of(store, sweep)
    assert "torch 2.6.0 (3 models), 2.7.0 (3 models)" in page.text
    assert "software numpy 2.0.1" in page.text
    assert "training took 52 s for 6 models in 2 cohorts" in page.text
    assert "python -m dbviz_ray.sweep sweep.yaml --out small_again" in page.text
    assert load_sweep(str(tmp_path / "sweep.yaml")).identity() == sweep.identity()


def test_long_tables_are_cut_and_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr("dbviz_ray.analysis.findings.summary.MAX_ROWS", 5)
    monkeypatch.setattr("dbviz_ray.analysis.report.facts.MAX_NAMED", 3)
    grid = {"width": [2, 3, 4], "recipes": RECIPES, "learning_rate": [0.1, 0.2], "label_noise": [0.0, 0.2]}
    sweep = small_sweep(grid=grid, planes={"test": {"count": 2, "resolution": 6}})
    page = report_of(made_up_run(tmp_path, sweep), sweep)
    assert "And 19 more: scores/groups.csv." in page.text
    assert "and others whose error may differ by chance alone (the first 5 rows, 7 more in scores/)" in page.text
    assert page.text.count("label noise 0, 0.2") == 1


TOLD = "Two trainings agree", "More seeds would tell", "Trained again", "Regions of one class in a plane"


@pytest.mark.parametrize(("trainings", "told"), [(1, TOLD[3:]), (2, TOLD[:2]), (3, TOLD[::2])])
def test_one_training_says_nothing_of_two_and_two_nothing_about_training_again(tmp_path, trainings, told):
    scores = ["fragmentation"] if trainings == 1 else ["reproducibility"]
    sweep = small_sweep(grid={"width": [4, 8], "seed": list(range(trainings))}, scores=scores)
    text = report_of(made_up_run(tmp_path, sweep), sweep).text
    assert [words for words in TOLD if words in text] == [*told]


def test_the_question_names_varying_and_fixed_seeds(tmp_path):
    sweep = small_sweep(grid={"label_noise": [0.2], "seed": [0], "init_seed": [0, 1], "label_noise_seed": [0, 1]})
    assert trainings(sweep) == Trainings(1, 4, 4, ["initialisation", "mislabelled images"], ["data order"])
    varied = ["initialisation", "data order", "augmentation"]
    assert trainings(load_sweep("double_descent")) == Trainings(50, 3, 3, varied, ["mislabelled images"])
    page = report_of(made_up_run(tmp_path, sweep), sweep)
    assert "4 times with other seeds (initialisation, mislabelled images), all with the same data order" in page.text
