"""The table `differences`: intervals and p-values of simple cases, and what is compared."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import small_sweep
from scipy import stats
from support.made_up_runs import labels_of, made_up_run

from dbviz_ray.analysis.scores.regions import region_counts
from dbviz_ray.analysis.tables import compute_tables


def by_width(model, truth):
    """The same for all trainings of a width."""
    own = truth.copy()
    changed = np.random.default_rng(model.width).random(own.shape) < 1 / model.width
    own[changed] = 0
    return own


def test_only_planes_vary_so_it_is_students_paired_test(tmp_path):
    sweep = small_sweep(grid={"width": [4, 8], "seed": [0, 1, 2]})
    store = made_up_run(tmp_path, sweep, label_maps=by_width)
    table = compute_tables(store, sweep)["differences"].set_index("score")
    a, b = (region_counts(labels_of(store, "test", [m for m in sweep.models() if m.width == width])[0])
            for width in (4, 8))  # fmt: skip
    test = stats.ttest_rel(a, b)
    row = table.loc["fragmentation"]
    assert (row["width_a"], row["width_b"], row["n_models_a"], row["n_models_b"]) == (4, 8, 3, 3)
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
    assert set(table["score"]) == {
        "train_error", "test_error", "reproducibility", "kappa", "soft_agreement", "agreement_on_test_images",
        "agreement_beyond_accuracy", "fragmentation", "large_regions", "largest_region", "margin", "margin_median",
        "margin_correct",
    }  # fmt: skip
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


def test_scores_that_are_not_known_are_not_compared(made_up):
    tables = made_up[2]
    assert "sharpness" not in set(tables["differences"]["score"]) | set(tables["uncertainty"]["score"])
    assert tables["groups"]["sharpness"].isna().all()


def test_holms_correction_is_over_the_rows_of_a_score(tmp_path):
    sweep = small_sweep(grid={"width": [2, 4, 8, 16], "label_noise": [0.0, 0.25], "seed": [0, 1, 2]})
    error = {2: 0.6, 4: 0.5, 8: 0.4, 16: 0.1}
    tables = compute_tables(made_up_run(tmp_path, sweep, error=lambda m, _: error[m.width]), sweep)
    table = tables["differences"]
    assert (table.groupby("score").size() == 12).all()
    for _, rows in table.groupby("score"):
        largest = 0.0
        for place, row in enumerate(rows.sort_values("p_value").to_dict(orient="records")):
            largest = max(largest, min(1.0, row["p_value"] * (len(rows) - place)))
            assert row["p_value_holm"] == pytest.approx(largest)
