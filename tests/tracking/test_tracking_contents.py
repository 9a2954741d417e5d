"""What runs say, before any server is asked."""

from __future__ import annotations

import math

import pytest
from conftest import small_sweep
from support.made_up_runs import let_fail, made_up_run
from support.tracked_runs import runs_of as runs_of_server
from support.whole_sweeps import empty_database

from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.tables import compute_tables, read_table, write_tables
from dbviz_ray.analysis.tracking import contents, track, tracking_uri
from dbviz_ray.analysis.tracking.contents import SECTIONS, SWEEP, runs_of

GRID = {"width": [2, 4, 8], "seed": [0, 1, 2], "label_noise_seed": [0]}


@pytest.fixture
def run(tmp_path):
    """A curve over three widths; of the widest no model is left, and one of the narrowest diverged."""
    sweep = small_sweep(grid=GRID | {"width": [2, 4, 8, 16]})
    store = made_up_run(tmp_path / "runs" / "small", sweep, lambda model: model.width == 2 and model.seeds.init == 0)
    let_fail(store, sweep, lambda model: "train" * (model.width == 16))
    write_tables(store, compute_tables(store, sweep))
    return store, sweep


def test_models_that_were_lost_are_marked_and_say_why(run):
    [sweep_run, curve, *models] = runs_of(*run)
    named = {model.title: model for model in models}
    assert [model.failed for model in models] == [True] + 8 * [False] + 3 * [True]
    assert "its loss is not finite from epoch 2 on" in named["width 2, seed 0"].description
    assert "RuntimeError: made up" in named["width 16, seed 1"].description
    assert {model.parent for model in models if "width 16" not in model.title} == {curve.name}
    assert {model.parent for model in models if "width 16" in model.title} == {SWEEP}, "it lies on no curve"
    assert {name: curve.params[name] for name in ("width", "n_models", "n_diverged")} == {
        "width": "2 to 8", "n_models": 8, "n_diverged": 1
    }  # fmt: skip
    assert sweep_run.params["models"] == 12


def test_models_that_were_lost_are_logged_once(run, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    empty_database(tmp_path / "runs")
    first = track(*run)
    assert track(*run) == first
    _, runs = runs_of_server(tracking_uri(run[0]), run[1])
    assert sorted(found.info.status for found in runs) == ["FAILED"] * 4 + ["FINISHED"] * 10


def test_many_models_have_no_runs(run, monkeypatch):
    monkeypatch.setattr(contents, "MAX_MODELS", 11)
    assert len(runs_of(*run)) == 2


def test_what_is_not_finite_is_no_metric(run):
    groups = read_table(run[0], "groups")
    assert groups["margin"].isna().all()
    groups.loc[groups["width"] == 4, "sharpness"] = math.inf
    groups.loc[groups["width"] == 8, "sharpness"] = 3.0
    write_tables(run[0], {"groups": groups})
    logged = runs_of(*run)[1].metrics
    assert all(math.isfinite(value) for _, value, _ in logged)
    assert ("sharpness over width/sharpness", 3.0, 8) in logged
    assert {step for name, _, step in logged if name == "errors over width/test_error"} == {2, 4, 8}
    assert not [name for name, _, _ in logged if "margin" in name]


def test_every_score_stands_in_one_section():
    assert sorted(score for scores in SECTIONS.values() for score in scores) == sorted(SCORES)
