"""Findings, outcomes and advice as text for a terminal."""

import string

import numpy as np
import pandas as pd
import pytest
from support.group_tables import DESCENT, groups, rates, recipes, summary_of
from support.table_rows import KEY

from dbviz_ray.analysis.findings.summary import ADVISED, advice_table, advice_text, outcomes_text
from dbviz_ray.formatting import COLUMNS, NO_BREAK, paragraph, unbroken
from dbviz_ray.sweep import main


def test_groups_on_no_curve_are_listed():
    text = summary_of(groups([0.3, 0.2], n_diverged=[0, 1]))
    assert [line[:12] for line in text.splitlines()[2:4]] == ["net, width 2", "net, width 4"]
    assert "held-out error" in summary_of(rates([0.3, 0.2]))


def test_the_summary_fits_a_terminal():
    long = groups(DESCENT, options="heads=4 layers=2 patch_size=2", recipe="a_recipe_with_a_long_name")
    other = groups(DESCENT, architecture="my_package.my_module:my_network_of_a_long_name", recipe="another_long_name")
    for table in (pd.concat([long, other]), recipes(), rates([0.1, 0.2, 0.3]), groups([0.2, 0.1])):
        assert max(map(len, summary_of(table).splitlines())) <= COLUMNS


def outcomes(*ends, reason="RuntimeError: broken"):
    """A table `outcomes` of models named a, b, ..., each lost for the same reason where it was not done."""
    table = pd.DataFrame({"model_id": list(string.ascii_lowercase[: len(ends)]), "outcome": ends})
    lost = table["outcome"] != "done"
    return table.assign(stage=np.where(lost, "train", ""), reason=np.where(lost, reason, ""))


def test_failures_have_a_stage_and_a_reason():
    assert outcomes_text(outcomes("done", "failed", "diverged", "bad configuration", "done")).splitlines() == [
        "5 models: 2 done, 1 diverged, 1 failed, 1 bad configuration",
        "  b: train, failed: RuntimeError: broken",
        "  d: train, bad configuration: RuntimeError: broken",
    ]
    assert outcomes_text(outcomes("diverged", "done")) == "2 models: 1 done, 1 diverged"


def test_lines_end_within_no_interval():
    told = "the error of width 8 [of 12] falls to 51.2% [47.9, 54.4]"
    joined = "the error of width 8_[of_12] falls to 51.2%_[47.9,_54.4]"
    assert unbroken(told) == joined.replace("_", NO_BREAK)
    lines = paragraph("; ".join([told] * 9)).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert all(line.count("[") == line.count("]") for line in lines)


def row(score, value, items, models, width=4, **others):
    """A row of the table `uncertainty`; `items` and `models` are variances, with 99 and 3 degrees of freedom."""
    reach = 2 * (items + models) ** 0.5
    return KEY | {
        "width": width, "score": score, "value": value, "low": value - reach, "high": value + reach,
        "n_models": 4, "n_items": 100,
        "interval_covers": "models and items", "items_variance": items, "items_freedom": 99.0,
        "models_variances": [models], "models_freedoms": [3.0], "shared_variance": 0.0, "shared_freedom": 0.0,
    } | others  # fmt: skip


ROWS = [
    row("test_error", 0.3, 1e-8, 1e-4),
    row("test_error", 0.2, 1e-8, 1e-8, width=8),
    row("reproducibility", 0.8, 1e-3, 0.0),
    row("fragmentation", 5.0, 1e-8, 0.01),
    row("sharpness", 5.0, 1e-8, 0.01),
]


def test_every_group_and_score_has_its_advice():
    table = advice_table(pd.DataFrame(ROWS), 0.01)
    assert list(table["name"]) == ["net, width 4", "net, width 8", "net, width 4", "net, width 4"]
    assert list(table["score"]) == ["test_error", "test_error", "reproducibility", "fragmentation"]
    assert [advice.wanted for advice in table["advice"]] == [0.01, 0.01, 0.01, 0.05]
    assert set(table["score"]) <= set(ADVISED)


def test_other_epochs_other_planes_and_unknown_or_zero_scores_have_no_advice():
    others = [row("test_error", 0.9, 1e-8, 1e-4, epoch=1), row("test_error", 0.9, 1e-8, 1e-4, plane_set="train")]
    others += [row("kappa", float("nan"), 0.0, 0.0), row("margin", 0.0, 1e-3, 1e-3)]
    assert advice_text(pd.DataFrame(ROWS + others), 0.01) == advice_text(pd.DataFrame(ROWS), 0.01)


@pytest.mark.parametrize("text", ["0", "1", "-0.1", "2", "nan", "inf", "much"])
def test_the_option_wants_a_share(text, capsys):
    assert main(["double_descent_digits", f"--precision={text}", "--plan"]) == 2
    assert f"--precision: {text!r}" in capsys.readouterr().err
