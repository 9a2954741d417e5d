"""The table `uncertainty`: it gives back every interval, and the advice that the scores themselves would give."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.made_up_runs import made_up_run, predictions_of

from dbviz_ray.analysis.findings.advice import advice_table
from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.statistics.estimates import mean_estimate
from dbviz_ray.analysis.statistics.precision import advice
from dbviz_ray.analysis.tables import compute_tables, read_table, write_tables
from dbviz_ray.analysis.tables.groups import uncertain_scores
from dbviz_ray.store import Store


@pytest.fixture(scope="module")
def stored(made_up, tmp_path_factory):
    """The table as it is read from a file."""
    store = Store(tmp_path_factory.mktemp("tables"))
    write_tables(store, made_up[2])
    return read_table(store, "uncertainty")


def test_rows_give_back_the_intervals(made_up, stored):
    groups = made_up[2]["groups"].set_index(["plane_set", "width", "label_noise"])
    assert len(stored) == groups[list(SCORES)].notna().sum().sum()
    for row, interval, variances in uncertain_scores(stored):
        of_group = groups.loc[(row["plane_set"], row["width"], row["label_noise"])]
        bounds = SCORES[row["score"]]
        ends = np.clip([interval.value - variances.reach(), interval.value + variances.reach()], *bounds)
        assert ends == pytest.approx([of_group[f"{row['score']}_low"], of_group[f"{row['score']}_high"]])
        assert interval.value == pytest.approx(of_group[row["score"]])
        assert interval.models == 3


def test_advice_from_the_table_is_that_from_the_estimate(made_up, stored):
    store, sweep, _ = made_up
    table = advice_table(stored, 0.05)
    for row in table[table["score"] == "test_error"].to_dict(orient="records"):
        width = int(row["name"].rpartition(" ")[2])
        models = [m for m in sweep.models() if (m.width, m.label_noise) == (width, row["label_noise"])]
        tests = [predictions_of(store, model, "test") for model in models]
        wrong = np.stack([test["predicted"] != test["given_label"] for test in tests]).astype(float)
        expected = advice(mean_estimate(wrong), 0.05, ("seeds", "test images"))
        cut = dataclasses.replace(expected.interval, low=max(0, expected.interval.low))
        assert str(row["advice"]) == str(dataclasses.replace(expected, interval=cut))
        assert (row["advice"].items, row["advice"].models) == (expected.items, expected.models)


def test_scores_of_one_model_come_back_too(tmp_path):
    sweep = small_sweep(grid={"width": [4], "seed": [0]}, scores=["fragmentation"])
    store = made_up_run(tmp_path, sweep)
    tables = compute_tables(store, sweep)
    write_tables(store, tables)
    table = read_table(store, "uncertainty")
    assert set(table["interval_covers"]) == {"items"}
    (row, interval, variances) = uncertain_scores(table)[0]
    assert (row["score"], interval.models, variances.models) == ("train_error", 1, ())
    assert isinstance(table, pd.DataFrame)


def test_scores_of_crossed_seeds_come_back_too(tmp_path):
    sweep = small_sweep(grid={"width": [4], "seed": [0], "init_seed": [0, 1, 2], "order_seed": [0, 1, 2]})
    tables = compute_tables(made_up_run(tmp_path, sweep), sweep)
    write_tables(Store(tmp_path), tables)
    group = tables["groups"].iloc[0]
    for row, interval, variances in uncertain_scores(read_table(Store(tmp_path), "uncertainty")):
        assert len(variances.models) >= 2
        assert interval.low == pytest.approx(group[f"{row['score']}_low"])
        low = max(interval.value - variances.reach(), SCORES[row["score"]][0])
        assert low == pytest.approx(group[f"{row['score']}_low"]), row["score"]
