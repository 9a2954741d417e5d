"""The table `between_groups` against a naive computation from the stored files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import small_sweep
from support.made_up_runs import RECIPES, compared_sweep, labels_of, made_up_run

from dbviz_ray.analysis.tables import compute_tables


def test_groups_are_compared_with_one_another(tmp_path):
    sweep = compared_sweep()
    store = made_up_run(tmp_path, sweep)
    between = compute_tables(store, sweep)["between_groups"]
    assert len(between) == 4 * 3 / 2
    for _, row in between.iterrows():
        sides = [
            labels_of(store, "test", [m for m in sweep.models() if (m.architecture, m.recipe) == key])
            for key in ((row[f"architecture_{side}"], row[f"recipe_{side}"]) for side in "ab")
        ]
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


def test_only_the_best_learning_rates_are_compared(tmp_path):
    sweep = small_sweep(grid={"learning_rate": [0.001, 0.01, 0.1], "recipes": RECIPES, "seed": [0, 1]})
    best = {"Adam": 0.01, "SGD": 0.1}
    store = made_up_run(
        tmp_path, sweep, error=lambda m, epoch: 0.1 if m.training.learning_rate == best[m.recipe] else 0.8
    )
    (row,) = compute_tables(store, sweep)["between_groups"].to_dict(orient="records")
    assert {row[f"recipe_{side}"]: row[f"learning_rate_{side}"] for side in "ab"} == best
