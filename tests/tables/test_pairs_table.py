"""The table `pairs` against a naive computation from the stored files."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from support.made_up_runs import CLASSES, distilled_sweep, labels_of, made_up_run, predictions_of

from dbviz_ray.analysis.tables import compute_tables, read_table


def test_every_pair_of_models_has_a_row(finished_run):
    store, sweep = finished_run
    pairs = read_table(store, "pairs")
    assert len(pairs) == 2 * 12 * 11 / 2
    assert pairs["same_group"].sum() == 2 * 4 * 3
    one = pairs[pairs["plane_set"] == "train"].iloc[17]
    a, b = labels_of(store, "train", [m for m in sweep.models() if m.model_id in (one["model_a"], one["model_b"])])
    assert one["reproducibility"] == pytest.approx((a == b).mean())


def test_pairs_equal_a_naive_computation(made_up):
    store, sweep, tables = made_up
    models = {model.model_id: model for model in sweep.models()}
    pairs = tables["pairs"]
    assert len(pairs) == 2 * 12 * 11 / 2
    for row in pairs.iloc[::7].to_dict(orient="records"):
        sides = [models[row[f"model_{side}"]] for side in "ab"]
        a, b = (maps.reshape(-1) for maps in labels_of(store, row["plane_set"], sides))
        assert row["reproducibility"] == pytest.approx((a == b).mean())
        assert row["kappa"] == pytest.approx(cohen_kappa_score(a, b), abs=1e-6)
        if row["plane_set"] == "test":
            p, q = (store.read_probabilities("test", side.model_id, 3).astype(float) for side in sides)
            assert row["soft_agreement"] == pytest.approx((p * q).sum(axis=-1).mean(), rel=1e-5)
        else:
            assert np.isnan(row["soft_agreement"])
        tests = [predictions_of(store, side, "test") for side in sides]
        observed = (tests[0]["predicted"] == tests[1]["predicted"]).mean()
        right, other = ((test["predicted"] == test["given_label"]).mean() for test in tests)
        expected = right * other + (1 - right) * (1 - other) / (CLASSES - 1)
        assert row["agreement_on_test_images"] == pytest.approx(observed)
        assert row["agreement_beyond_accuracy"] == pytest.approx((observed - expected) / (1 - expected))
        alike = (sides[0].width, sides[0].label_noise) == (sides[1].width, sides[1].label_noise)
        assert (row["same_group"], row["student_and_teacher"], row["epoch_a"]) == (alike, False, 3)
        assert row["n_planes"] == sweep.planes[row["plane_set"]].count


def test_pairs_tell_students_and_teachers(tmp_path):
    sweep = distilled_sweep({"architecture": "vit"})
    pairs = compute_tables(made_up_run(tmp_path, sweep), sweep)["pairs"]
    assert pairs["student_and_teacher"].sum() == 6
    teachers = {model.model_id: model.teacher for model in sweep.models()}
    for row in pairs[pairs["student_and_teacher"]].to_dict(orient="records"):
        a, b = row["model_a"], row["model_b"]
        assert teachers[a] == b or teachers[b] == a
