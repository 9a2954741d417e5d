"""A sweep with failed models says what the other models alone would say."""

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.drawn_figures import figures_in
from support.made_up_runs import CROSSED, compared_sweep, distilled_sweep, let_fail, made_up_run

from dbviz_ray.analysis.findings import find
from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.scores.groups import GROUP
from dbviz_ray.analysis.tables import compute_tables, write_tables

SETS = {"test": {"count": 4, "resolution": 6, "probabilities": True},
        "train": {"count": 3, "resolution": 6, "images": "train"}}  # fmt: skip
GRID = {"width": [2, 4, 8], "label_noise": [0.0, 0.25], "seed": [0, 1, 2]}
SWEEPS = {
    "margins": (
        small_sweep(grid=GRID, planes=SETS, margins={"images": 18, "directions": 3}),
        lambda m: {(2, 0): "train", (4, 1): "evaluate"}.get((m.width, m.seeds.init), "train" * (m.width == 8)),
    ),
    "snapshots": (compared_sweep(planes=SETS), lambda m: "evaluate" * (m.recipe == "SGD" and m.seeds.init > 1)),
    "teachers": (
        distilled_sweep({"architecture": "vit"}),
        lambda m: "evaluate" * ((m.architecture, m.recipe, m.seeds.init) == ("vit", "alone", 1)),
    ),
    "streams": (small_sweep(grid=CROSSED), lambda m: "train" * (m.seeds.init == 0 or m.seeds.order == 2)),
}


@pytest.fixture(scope="module")
def tables_of(tmp_path_factory):
    """Tables of a whole run, and of the same run without what failed, by the sweep's name."""
    found = {}
    for name, (sweep, stage) in SWEEPS.items():
        store = made_up_run(tmp_path_factory.mktemp(name), sweep)
        whole = compute_tables(store, sweep)
        let_fail(store, sweep, stage)
        found[name] = whole, compute_tables(store, sweep)
    return found


@pytest.mark.parametrize("name", SWEEPS)
def test_what_is_left_is_as_it_was(tables_of, name):
    sweep, stage = SWEEPS[name]
    lost = {model.model_id for model in sweep.models() if stage(model)}
    whole, left = tables_of[name]
    assert_same_rows(left["models"], whole["models"][~whole["models"]["model_id"].isin(lost)])
    pairs = whole["pairs"]
    assert_same_rows(left["pairs"], pairs[~pairs["model_a"].isin(lost) & ~pairs["model_b"].isin(lost)])
    groups = left["groups"]
    untouched = groups["n_failed"] == 0
    assert (groups[GROUP] == whole["groups"][GROUP]).all(axis=None)
    assert_same_rows(groups[untouched], whole["groups"][untouched])
    assert (groups["n_models"] + groups["n_failed"] == whole["groups"]["n_models"]).all()


def assert_same_rows(left, right):
    pd.testing.assert_frame_equal(left.reset_index(drop=True), right.reset_index(drop=True), rtol=1e-9)


@pytest.mark.parametrize("name", SWEEPS)
def test_groups_are_means_over_the_models_and_pairs_that_are_left(tables_of, name):
    sweep, _ = SWEEPS[name]
    _, left = tables_of[name]
    keys = [*GROUP, "plane_set"]
    models, pairs = left["models"], left["pairs"]
    seeds = models.drop_duplicates("model_id").set_index("model_id")
    for _, row in left["groups"].iterrows():
        own = models[(models[keys] == row[keys].tolist()).all(axis=1)]
        assert row["n_models"] == len(own)
        if own.empty:
            assert row[list(SCORES)].isna().all()
            continue
        for score in ("train_error", "test_error", "fragmentation", *(["margin"] if sweep.margins else [])):
            assert row[score] == pytest.approx(own[score].mean())
        two = pairs[pairs["model_a"].isin(own["model_id"]) & pairs["model_b"].isin(own["model_id"])]
        two = two[(two["plane_set"] == row["plane_set"]) & (two["epoch_a"] == row["epoch"])]
        if name == "streams":  # only trainings that differ in both seeds
            apart = [(seeds.loc[a] != seeds.loc[b])[["init_seed", "order_seed"]].all()
                     for a, b in zip(two["model_a"], two["model_b"], strict=True)]  # fmt: skip
            assert 0 < sum(apart) < len(two)
            two = two[apart]
        for score in ("reproducibility", "kappa", "agreement_on_test_images"):
            assert row[score] == pytest.approx(two[score].mean())


def test_a_lost_teacher_has_no_students(tables_of):
    whole, left = tables_of["teachers"]
    assert whole["distillation"]["n_students"].tolist() == [3, 3]
    assert left["distillation"][["n_students", "n_teachers"]].to_numpy().tolist() == [[2, 2], [2, 2]]
    models = left["models"].set_index("model_id")
    taught = left["pairs"].set_index(["model_a", "model_b"])["reproducibility"]
    for architecture, row in left["distillation"].set_index("student_architecture").iterrows():
        students = models[(models["architecture"] == architecture) & models["teacher"].isin(models.index)]
        pairs = [taught.get((student, teacher), taught.get((teacher, student)))
                 for student, teacher in students["teacher"].items()]  # fmt: skip
        assert (len(pairs), row["student_agreement"]) == (2, pytest.approx(np.mean(pairs)))


def test_streams_and_pairs_of_groups_that_are_left(tables_of):
    _, left = tables_of["streams"]
    counts = left["streams"][["n_seeds", "n_models", "n_pairs", "n_pairs_alone"]]
    assert counts.to_numpy().tolist() == [[2, 4, 2, 2]] * 2
    between = tables_of["margins"][1]["between_groups"]
    assert set(between["width_a"]) | set(between["width_b"]) == {2, 4}
    assert between[["n_models_a", "n_models_b"]].eq(2).all(axis=None)


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("name", SWEEPS)
def test_figures_and_findings_of_what_is_left(tmp_path, name, kept):
    """With 1, only the last model is left; with 0, the models that are left in the tests above."""
    sweep, stage = SWEEPS[name]
    last = {model.model_id for model in sweep.models()[-kept:]}
    failed = (lambda m: "train" * (m.model_id not in last)) if kept else stage
    store = made_up_run(tmp_path, sweep)
    let_fail(store, sweep, failed)
    tables = compute_tables(store, sweep)
    write_tables(store, tables)
    figures = figures_in(store, sweep)
    count = (tables["outcomes"]["outcome"] != "done").sum()
    [said] = [text for text in find(tables).sentences if "failed" in text]
    assert said.startswith(f"{count} of {len(sweep.models())} ")
    for name in figures.keys() & {"double_descent", "epochs", "error_surface", "reproducibility_matrix", "by_recipe"}:
        words = [text.get_text() for axes in figures[name].axes for text in axes.texts]
        assert f"{count} failed" in " ".join([figures[name].get_supxlabel() or "", *words])
