"""Findings and outcomes as text for a terminal."""

from __future__ import annotations

import pandas as pd
from support.group_tables import DESCENT, groups, rates, recipes, summary_of

from dbviz_ray.analysis.findings.summary import outcomes_text
from dbviz_ray.formatting import COLUMNS, interval_text


def test_groups_on_no_curve_are_listed():
    text = summary_of(groups([0.3, 0.2], n_diverged=[0, 1]))
    assert [line[:12] for line in text.splitlines()[2:4]] == ["net, width 2", "net, width 4"]
    assert "1 of 7 trainings diverged and are left out: net, width 4, label noise 0.2 (1 of 4)." in text


def test_architectures_with_one_recipe_each_are_named_without_it():
    table = pd.concat([groups([0.1], width=4, recipe="a"), groups([0.2], width=4, recipe="b", architecture="vit")])
    lines = summary_of(table).splitlines()
    assert lines[2].startswith("net ")
    assert lines[2].endswith("90.0 [89.0, 91.0]")


def test_the_summary_fits_a_terminal():
    long = groups(DESCENT, options="heads=4 layers=2 patch_size=2", recipe="a_recipe_with_a_long_name")
    other = groups(DESCENT, architecture="my_package.my_module:my_network_of_a_long_name", recipe="another_long_name")
    for table in (pd.concat([long, other]), recipes(), rates([0.1, 0.2, 0.3]), groups([0.2, 0.1])):
        assert max(map(len, summary_of(table).splitlines())) <= COLUMNS


def outcomes(*ends, reason="RuntimeError: broken"):
    """A table `outcomes` of models named a, b, ..., each lost for the same reason where it was not done."""
    rows = [
        {"model_id": chr(97 + place), "outcome": end, "stage": "train" * (end != "done"),
         "reason": reason * (end != "done")} for place, end in enumerate(ends)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_outcomes_without_models_are_not_listed():
    assert outcomes_text(outcomes("done", "done")) == "2 models: 2 done"
    assert outcomes_text(outcomes("diverged", "done")) == "2 models: 1 done, 1 diverged"


def test_failures_have_a_stage_and_a_reason():
    assert outcomes_text(outcomes("done", "failed", "diverged", "bad configuration", "done")).splitlines() == [
        "5 models: 2 done, 1 diverged, 1 failed, 1 bad configuration",
        "  b: train, failed: RuntimeError: broken",
        "  d: train, bad configuration: RuntimeError: broken",
    ]


def test_only_the_first_five_failures_are_named():
    assert len(outcomes_text(outcomes(*["crashed"] * 5)).splitlines()) == 6
    lines = outcomes_text(outcomes("done", *["crashed"] * 6)).splitlines()
    assert [line[2] for line in lines[1:6]] == list("bcdef")
    assert lines[6] == "  and 1 more: see scores/outcomes.csv"


def test_long_reasons_are_cut_and_fit_a_terminal():
    reason = "RuntimeError: " + "the folder a-very-long-name/with-many-parts is missing; " * 20 + "x" * 300
    lines = outcomes_text(outcomes("out of memory", reason=reason)).splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= COLUMNS
    assert lines[-1].endswith(" ...")
    assert all(line.startswith("    ") for line in lines[2:])


def test_the_end_of_a_huge_interval_has_an_exponent():
    assert interval_text(25.6, 1.0, 8.1e95, 1) == "25.6 [1.0, 8.1e+95]"
    assert interval_text(999_999.0, -2e6, float("inf"), 1) == "999999.0 [-2.0e+06, inf]"
