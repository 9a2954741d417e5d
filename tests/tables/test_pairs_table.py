"""The table `pairs` against a naive computation from the stored files."""

import itertools

import numpy as np
import pytest
from conftest import small_sweep
from scipy import stats
from support.made_up_runs import RECIPES, compared_sweep, labels_of, labels_of_kind, made_up_run, naive_scores, noise

from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.analysis.statistics.intervals import holm
from dbviz_ray.analysis.tables import compute_tables
from dbviz_ray.analysis.tables.scored import ON_PLANES


def test_pairs_equal_a_naive_computation(made_up):
    store, sweep, tables = made_up
    models = {model.model_id: model for model in sweep.models()}
    pairs = tables["pairs"]
    assert len(pairs) == 2 * 12 * 11 / 2
    assert pairs["same_group"].sum() == 2 * 4 * 3
    for row in pairs.iloc[::7].to_dict(orient="records"):
        sides = [models[row[f"model_{side}"]] for side in "ab"]
        naive = naive_scores(store, sweep, row["plane_set"], sides)
        assert {score: row[score] for score in naive} == pytest.approx(naive, rel=1e-5, abs=1e-6, nan_ok=True)
        alike = (sides[0].width, sides[0].label_noise) == (sides[1].width, sides[1].label_noise)
        assert (row["same_group"], row["student_and_teacher"], row["epoch_a"]) == (alike, False, 3)
        assert row["n_planes"] == sweep.planes[row["plane_set"]].count


def test_groups_are_compared_with_one_another(tmp_path):
    sweep = compared_sweep()
    store = made_up_run(tmp_path, sweep)
    between = compute_tables(store, sweep)["between_groups"]
    assert len(between) == 4 * 3 / 2
    for _, row in between.iterrows():
        kinds = [(row[f"architecture_{side}"], row[f"recipe_{side}"]) for side in "ab"]
        sides = [labels_of_kind(store, sweep, *kind) for kind in kinds]
        naive = np.mean([(a == b).mean() for a, b in itertools.product(*sides)])
        assert row["reproducibility"] == pytest.approx(naive)
        assert row["reproducibility_low"] < naive < row["reproducibility_high"]
        assert row["reproducibility_interval_covers"] == "models and planes"
        assert (row["n_models_a"], row["n_models_b"], row["n_planes"]) == (3, 3, 6)


def test_groups_of_other_label_noise_or_too_many_are_not_compared(tmp_path):
    noisy = small_sweep(grid={"width": [4, 8, 16], "label_noise": [0.0, 0.2], "seed": [0, 1]})
    table = compute_tables(made_up_run(tmp_path / "noisy", noisy), noisy)["between_groups"]
    assert table.groupby("label_noise").size().to_dict() == {0.0: 3, 0.2: 3}
    many = small_sweep(grid={"width": list(range(2, 43)), "seed": [0, 1]})
    assert compute_tables(made_up_run(tmp_path / "many", many), many)["between_groups"].empty


def test_the_best_learning_rates_are_compared(tmp_path):
    sweep = small_sweep(grid={"learning_rate": [0.001, 0.01, 0.1], "recipes": RECIPES, "seed": [0, 1]})
    best = {"Adam": 0.01, "SGD": 0.1}
    store = made_up_run(tmp_path, sweep, error=lambda m, _: 0.1 if m.training.learning_rate == best[m.recipe] else 0.8)
    tables = compute_tables(store, sweep)
    (row,) = tables["between_groups"].to_dict(orient="records")
    sides = tables["differences"].query("recipe_a == recipe_b")[["score", "learning_rate_a", "learning_rate_b"]]
    pairs = [["test_error", a, b] for a, b in itertools.combinations(sweep.grid.learning_rate, 2)]
    assert sides.to_numpy().tolist() == pairs * 2, "errors of all rates are compared, too"
    assert {row[f"recipe_{side}"]: row[f"learning_rate_{side}"] for side in "ab"} == best


def test_only_planes_vary_so_it_is_students_paired_test(tmp_path):
    """Models of one width say the same."""
    sweep = small_sweep(grid={"width": [4, 8], "seed": [0, 1, 2]})
    store = made_up_run(tmp_path, sweep, label_maps=lambda m, truth: noise(truth, 1 / m.width, m.width))
    table = compute_tables(store, sweep)["differences"].set_index("score")
    first_maps = (labels_of(store, "test", [m for m in sweep.models() if m.width == width])[0] for width in (4, 8))
    a, b = (regions_of(maps, 0).fragmentation for maps in first_maps)
    test = stats.ttest_rel(a, b)
    row = table.loc["fragmentation"]
    assert row[["width_a", "width_b", "n_models_a", "n_models_b"]].tolist() == [4, 8, 3, 3]
    assert (row["value_a"], row["value_b"]) == pytest.approx((a.mean(), b.mean()))
    assert row["difference"] == pytest.approx(a.mean() - b.mean())
    known = test.confidence_interval()
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((known.low, known.high))
    assert row["p_value"] == pytest.approx(test.pvalue)
    assert row["ratio"] == pytest.approx(a.mean() / b.mean())
    relative = stats.ttest_1samp(a / a.mean() - b / b.mean(), 0).confidence_interval()  # of the log-ratio
    ends = row["ratio"] * np.exp([relative.low, relative.high])
    assert (row["ratio_low"], row["ratio_high"]) == pytest.approx(tuple(ends))
    assert row["interval_covers"] == "models and planes"
    same = table.loc["reproducibility"]
    assert (same["difference"], same["p_value"], same["ratio"]) == (0, 1, 1)


def test_all_scores_of_all_pairs_of_groups_of_equal_noise(made_up):
    tables = made_up[2]
    table = tables["differences"]
    groups = tables["groups"].set_index(["plane_set", "width", "label_noise"])
    by_label = {"margin_mislabelled", "false_labels_learned"}
    assert set(table["score"]) == set(SCORES) - by_label - {"sharpness"}, "other images are mislabelled in each"
    assert (table.groupby(["score", "plane_set"]).size() <= 2).all()  # one pair of widths a label noise
    for row in table.to_dict(orient="records"):
        a, b = (groups.loc[(row["plane_set"], width, row["label_noise"])] for width in (4, 16))
        score = row["score"]
        assert row["difference"] == pytest.approx(a[score] - b[score])
        assert row["difference_low"] <= row["difference"] <= row["difference_high"]
        if row["ratio"] > 0:
            assert row["ratio"] == pytest.approx(a[score] / b[score])
        inside = row["difference_low"] <= 0 <= row["difference_high"]
        assert inside == (row["p_value"] >= 0.05)
        assert row["interval_covers"] == f"models and {'planes' if score in ON_PLANES else 'images'}"


def test_holms_correction_is_over_the_rows_of_a_score(tmp_path):
    sweep = small_sweep(grid={"width": [2, 4, 8, 16], "label_noise": [0.0, 0.25], "seed": [0, 1, 2]})
    error = {2: 0.6, 4: 0.5, 8: 0.4, 16: 0.1}
    tables = compute_tables(made_up_run(tmp_path, sweep, error=lambda m, _: error[m.width]), sweep)
    table = tables["differences"]
    assert (table.groupby("score").size() == 12).all()
    for _, rows in table.groupby("score"):
        assert rows["p_value_holm"].to_numpy() == pytest.approx(holm(rows["p_value"].to_numpy()))
