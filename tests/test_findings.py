from __future__ import annotations

import pandas as pd
import pytest

from analysis.findings import (
    curves,
    findings,
    has_peak,
    interpolation_threshold,
    shown_rows,
    summary_text,
    telling_widths,
)


def curve(test, train=None, reach=0.01, noise=0.2, widths=None):
    widths = widths or [2**n for n in range(1, len(test) + 1)]
    table = pd.DataFrame({"width": widths, "test_error": test, "train_error": train or [0.0] * len(test)})
    table = table.assign(
        architecture="net", label_noise=noise, plane_set="test", reproducibility=0.5, fragmentation=5.0
    )
    for score in ("test_error", "train_error", "reproducibility", "fragmentation"):
        table[f"{score}_low"], table[f"{score}_high"] = table[score] - reach, table[score] + reach
    return table


DESCENT = [0.7, 0.2, 0.3, 0.1]


def test_telling_widths_of_a_double_descent():
    assert telling_widths(curve(DESCENT)) == {"narrowest": 0, "best narrow": 1, "peak": 2, "widest": 3}
    assert has_peak(curve(DESCENT))


def test_a_falling_curve_has_no_peak():
    assert telling_widths(curve([0.7, 0.5, 0.2, 0.1])) == {"narrowest": 0, "widest": 3}
    assert not has_peak(curve([0.7, 0.5, 0.2, 0.1]))


def test_a_peak_within_the_intervals_is_none():
    assert not has_peak(curve([0.7, 0.20, 0.21, 0.1], reach=0.02))


def test_a_bump_on_the_way_down_is_not_the_peak_if_a_higher_one_follows():
    assert telling_widths(curve([0.7, 0.5, 0.51, 0.2, 0.4, 0.1]))["peak"] == 4


def test_a_peak_after_the_narrowest_width_needs_no_narrowest_row():
    assert telling_widths(curve([0.2, 0.3, 0.1])) == {"best narrow": 0, "peak": 1, "widest": 2}


@pytest.mark.parametrize(
    ("train", "threshold"),
    [([0.5, 0.2, 0.1, 0.0], 8), ([0.5, 0.4, 0.3, 0.2], None), ([0.0] * 4, 2), ([0.5, 0.05, 0.3, 0.0], 16)],
)
def test_interpolation_threshold(train, threshold):
    assert interpolation_threshold(curve(DESCENT, train)) == threshold


def test_findings_in_words_and_rows():
    table = pd.concat([curve(DESCENT, [0.5, 0.2, 0.1, 0.0]), curve([0.4, 0.3, 0.2, 0.1], noise=0.0)])
    found = findings(table)
    assert len(found["sentences"]) == len(curves(table)) == 2
    assert "peaks at 30.0% at width 8 and falls to 10.0% at width 16" in found["sentences"][0]
    assert "threshold (training error at most 10%) lies at width 8" in found["sentences"][0]
    assert "no double descent" in found["sentences"][1]
    assert [row["point"] for row in found["rows"]] == [
        "narrowest", "best narrow", "peak", "widest", "narrowest", "middle", "widest",
    ]  # fmt: skip
    text = summary_text(found)
    assert text.count("\n") >= 8
    assert "0.300 [0.290, 0.310]" in text


def test_unknown_reproducibility_is_a_dash():
    table = curve(DESCENT)
    table[["reproducibility", "reproducibility_low", "reproducibility_high"]] = float("nan")
    found = findings(table)
    assert found["rows"][0]["reproducibility"] is None
    assert " - " in summary_text(found)
    assert "trainings agree" not in found["sentences"][0]


def test_one_width_is_shown_once():
    assert shown_rows(curve([0.2])) == {"narrowest": 0}
    assert shown_rows(curve([0.2, 0.1])) == {"narrowest": 0, "widest": 1}


def test_a_peak_within_the_intervals_is_not_shown_as_one():
    assert list(shown_rows(curve([0.7, 0.20, 0.21, 0.1], reach=0.02))) == ["narrowest", "middle", "widest"]


def test_plane_sets_and_architectures_are_told_apart():
    table = pd.concat([curve(DESCENT), curve(DESCENT).assign(plane_set="train", architecture="other")])
    found = findings(table)
    assert "net, label noise 0.2, test planes:" in found["sentences"][0]
    assert "other, label noise 0.2, train planes:" in found["sentences"][1]
    lines = summary_text(found).splitlines()
    assert lines[1].split()[:2] == ["net", "test"]
    assert lines[5].split()[:2] == ["other", "train"]
