"""How work on models ended, in words."""

from __future__ import annotations

import pandas as pd

from dbviz_ray.analysis.findings.summary import outcomes_text
from dbviz_ray.formatting import COLUMNS


def outcomes(*ends, reason="RuntimeError: broken"):
    """A table `outcomes` of models named a, b, ..., each lost for the same reason where it was not done."""
    rows = [
        {"model_id": chr(97 + place), "outcome": end, "stage": "train" * (end != "done"),
         "reason": reason * (end != "done")} for place, end in enumerate(ends)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_only_what_happened_is_counted():
    assert outcomes_text(outcomes("done", "done")) == "2 models: 2 done"
    assert outcomes_text(outcomes("diverged", "done")) == "2 models: 1 done, 1 diverged"


def test_what_failed_is_named_with_stage_and_reason():
    assert outcomes_text(outcomes("done", "failed", "diverged", "bad configuration", "done")).splitlines() == [
        "5 models: 2 done, 1 diverged, 1 failed, 1 bad configuration",
        "  b: train, failed: RuntimeError: broken",
        "  d: train, bad configuration: RuntimeError: broken",
    ]


def test_of_many_the_first_five_are_named():
    assert len(outcomes_text(outcomes(*["crashed"] * 5)).splitlines()) == 6
    lines = outcomes_text(outcomes("done", *["crashed"] * 6)).splitlines()
    assert [line[2] for line in lines[1:6]] == list("bcdef")
    assert lines[6] == "  and 1 more: see scores/outcomes.csv"


def test_long_reasons_are_cut_and_fit_a_terminal():
    reason = "RuntimeError: " + "the folder a-very-long-name/with-many-parts cannot be had; " * 20 + "x" * 300
    lines = outcomes_text(outcomes("out of memory", reason=reason)).splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= COLUMNS
    assert lines[-1].endswith(" ...")
    assert all(line.startswith("    ") for line in lines[2:])
