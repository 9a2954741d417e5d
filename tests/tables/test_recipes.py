"""The table by_recipe, and the best of several learning rates."""

import pandas as pd
import pytest
from support.group_tables import rates, recipes, tables_with
from support.table_rows import NAN, of_difference

from dbviz_ray.analysis.tables.recipes import at_best_rate, best_rates, by_recipe

NO_PAIRS = tables_with(recipes())["differences"]


def test_table_1():
    table = by_recipe(recipes())
    assert list(zip(table["architecture"], table["recipe"], strict=True)) == [
        ("net", "Adam"), ("net", "SGD+SAM"), ("vit", "Adam"), ("vit", "SGD+SAM"),
    ]  # fmt: skip
    scores = table[["reproducibility", "reproducibility_low", "accuracy", "accuracy_low", "accuracy_high"]]
    assert scores.iloc[0].tolist() == pytest.approx([0.8, 0.79, 0.9, 0.89, 0.91])
    assert scores.iloc[3].isna().all()
    assert table[["n_models", "n_diverged", "n_failed"]].iloc[3].tolist() == [0, 3, 0]


@pytest.mark.parametrize(("p", "alike"), [(0.049, [0.1]), (0.05, [0.001, 0.1]), (NAN, [0.001, 0.1])])
def test_the_best_learning_rate_and_those_that_chance_may_explain(p, alike):
    row = of_difference("test_error", 0.3, width=(8, 8), learning_rate=(0.001, 0.01)) | {"p_value_holm": p}
    (rate,) = best_rates(rates([0.5, 0.2, 0.4]), pd.DataFrame([row]))
    assert (rate.best["learning_rate"], rate.best["test_error"], rate.at_end) == (0.01, 0.2, "")
    assert [row["learning_rate"] for row in rate.alike] == alike


@pytest.mark.parametrize(("lost", "at_end", "if_alone"), [("n_diverged", "", 1), ("n_failed", "largest", 0)])
def test_a_rate_that_diverged_bounds_the_grid_and_one_that_failed_does_not(lost, at_end, if_alone):
    table = rates([0.3, 0.1, float("nan")], **{"n_models": [3, 3, 0], lost: [0, 0, 3]})
    (rate,) = best_rates(table, NO_PAIRS)
    assert (rate.best["learning_rate"], rate.at_end) == (0.01, at_end)
    assert at_best_rate(table)["learning_rate"].tolist() == [0.01]
    assert len(best_rates(table.assign(**{"n_models": [0, 3, 0], lost: [3, 0, 3]}), NO_PAIRS)) == if_alone


def test_of_equally_good_rates_the_smallest_is_best():
    table = rates([0.3, 0.1, 0.1, 0.3]).iloc[::-1]
    assert best_rates(table, NO_PAIRS)[0].best["learning_rate"] == 0.001
    assert at_best_rate(table)["learning_rate"].tolist() == [0.001]
