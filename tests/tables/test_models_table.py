"""The table `models` against the stored files."""

from __future__ import annotations

import pytest
from support.made_up_runs import labels_of, predictions_of

from dbviz_ray.analysis.tables import read_table


def test_last_test_error_of_the_history_is_that_of_the_predictions(finished_run):
    store, _ = finished_run
    for _, model in read_table(store, "models").iterrows():
        history, _ = store.read_parquet(store.model_file(model["model_id"], "history.parquet"))
        assert history["test_error"][-1].as_py() == pytest.approx(model["test_error"], abs=1e-6)


def test_models_equal_a_naive_computation(made_up):
    store, sweep, tables = made_up
    table = tables["models"].set_index(["plane_set", "model_id"])
    assert len(table) == 2 * 12
    for model in sweep.models():
        row = table.loc[("test", model.model_id)]
        assert (row["init_seed"], row["label_noise_seed"], row["teacher"]) == (model.seeds.init, model.seeds.init, "")
        for split in ("train", "test"):
            found = predictions_of(store, model, split)
            assert row[f"{split}_error"] == pytest.approx((found["predicted"] != found["given_label"]).mean())
        assert row["predicted_classes"] == found["predicted"].nunique()
        margins = store.read_margins(model.model_id, 3)
        distances = margins.distances.copy()
        distances[distances == float("inf")] = 5  # how far was looked
        assert row["margin"] == pytest.approx(distances.mean())
        assert row["n_planes"] == 6
        assert row["fragmentation_low"] < row["fragmentation"] < row["fragmentation_high"]
    each = labels_of(store, "train", sweep.models())
    assert table.loc["train"]["n_planes"].eq(5).all()
    assert len(each) == len(table.loc["train"])


def test_models_tell_where_they_come_from(finished_run):
    store, sweep = finished_run
    table = read_table(store, "models")
    assert set(table["device"]) == {"cpu"}
    assert set(table["model_id"]) == {model.model_id for model in sweep.models()}
