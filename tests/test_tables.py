"""Tables against a naive computation from the stored files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from skimage.measure import label as skimage_label

from analysis.figures import draw_figures
from analysis.tables import SCORES, read_table

REQUIRED = ["architecture", "width", "label_noise", "n_models", "train_error", "test_error", "reproducibility",
            "fragmentation"]  # fmt: skip


def test_double_descent_has_the_promised_columns(finished_run):
    store, _ = finished_run
    table = read_table(store, "double_descent")
    assert list(table.columns[:8]) == REQUIRED
    assert {f"{score}_{end}" for score in SCORES for end in ("low", "high")} <= set(table.columns)
    header = store.read("scores/double_descent.csv").decode().splitlines()[0]
    assert header.startswith(
        "architecture,width,label_noise,n_models,train_error,test_error,reproducibility,fragmentation"
    )
    assert len(table) == 2 * 2 * 2  # widths, noise levels, plane sets
    for score in SCORES:
        assert (table[f"{score}_low"] <= table[score]).all()
        assert (table[score] <= table[f"{score}_high"]).all()


def test_scores_equal_a_naive_computation(finished_run):
    store, sweep = finished_run
    table = read_table(store, "double_descent").set_index(["plane_set", "width", "label_noise"])
    for plane_set, width, noise in table.index:
        row = table.loc[(plane_set, width, noise)]
        models = [m for m in sweep.models() if (m.width, m.label_noise) == (width, noise)]
        maps = [store.read_label_maps(plane_set, m.model_id) for m in models]
        agree = [(a == b).mean() for a, b in itertools.combinations(maps, 2)]
        regions = [sum(skimage_label(p == c, connectivity=2).max() for c in np.unique(p)) for m in maps for p in m]
        assert row["reproducibility"] == pytest.approx(np.mean(agree))
        assert row["fragmentation"] == pytest.approx(np.mean(regions))
        errors = {"train": [], "test": []}
        for model in models:
            predictions = store.read_parquet(store.model_file(model.model_id, "predictions.parquet"))[0].to_pandas()
            for split, part in predictions.groupby("split", observed=True):
                errors[split].append((part["predicted"] != part["given_label"]).mean())
        assert row["train_error"] == pytest.approx(np.mean(errors["train"]))
        assert row["test_error"] == pytest.approx(np.mean(errors["test"]))
        assert row["n_models"] == 3
        assert row["n_planes"] == sweep.planes[plane_set].count


def test_last_test_error_of_the_history_is_that_of_the_predictions(finished_run):
    store, _ = finished_run
    for _, model in read_table(store, "models").iterrows():
        history, _ = store.read_parquet(store.model_file(model["model_id"], "history.parquet"))
        assert history["test_error"][-1].as_py() == pytest.approx(model["test_error"], abs=1e-6)


def test_every_pair_of_models_has_a_row(finished_run):
    store, _ = finished_run
    pairs = read_table(store, "pairs")
    assert len(pairs) == 2 * 12 * 11 / 2
    assert pairs["same_group"].sum() == 2 * 4 * 3
    one = pairs[pairs["plane_set"] == "train"].iloc[17]
    a, b = (store.read_label_maps("train", one[name]) for name in ("model_a", "model_b"))
    assert one["reproducibility"] == pytest.approx((a == b).mean())


def test_figures_are_drawn_from_the_tables(finished_run):
    store, sweep = finished_run
    figures = draw_figures(store, sweep)
    assert len(figures["double_descent"].axes) == 3
    assert len(figures["decision_regions"].axes) >= 2 * 3
    for name in figures:
        assert store.read(store.figure_file(name)).startswith(b"\x89PNG")
