"""Findings about margins, random streams, grids and models that predict one class."""

from __future__ import annotations

import pandas as pd
import pytest
from test_findings import found_in, groups

from dbviz_ray.analysis.findings import Kind
from dbviz_ray.analysis.findings.curves import WIDTH, curves
from dbviz_ray.analysis.findings.find import margins, resolution, streams
from dbviz_ray.analysis.findings.sentences import sentence

KEY = {"architecture": "net", "options": "", "width": 4, "label_noise": 0.2, "recipe": "default",
       "learning_rate": 0.01, "epoch": 100, "plane_set": "test"}  # fmt: skip
NOTHING = float("nan")


def with_ends(score, value, reach=0.1):
    return {score: value, f"{score}_low": value - reach, f"{score}_high": value + reach}


def of_margins(width, all_images, correct=NOTHING, mislabelled=NOTHING, found=1.0):
    scores = {"margin": all_images, "margin_correct": correct, "margin_mislabelled": mislabelled}
    row = KEY | {"width": width, "n_models": 3, "test_error": 1 / width, "test_error_low": 0, "test_error_high": 1}
    row["margin_found"] = found
    for score, value in scores.items():
        row |= with_ends(score, value)
    return row


def margins_of(*rows):
    return margins(curves(pd.DataFrame(rows), WIDTH))


def test_margins_over_a_curve():
    (finding,) = margins_of(
        of_margins(4, 1.0, 1.2, 0.5), of_margins(8, 2.0, 2.2, 1.5, found=0.89), of_margins(16, 3.0, 3.2, 2.5)
    )
    values = [(n.score, n.subject.keys["width"], n.value) for n in finding.numbers]
    assert values == [
        ("margin_correct", 4, 1.2), ("margin_correct", 8, 2.2), ("margin_correct", 16, 3.2),
        ("margin_mislabelled", 4, 0.5), ("margin_mislabelled", 8, 1.5), ("margin_mislabelled", 16, 2.5),
    ]  # fmt: skip
    assert finding.condition["not_found"] == pytest.approx(0.11)
    assert "mislabelled ones 0.50 [0.40, 0.60] at width 4, 1.50 [1.40, 1.60] at width 8" in sentence(finding)
    assert "in up to 11% of directions" in sentence(finding)


def test_margins_without_label_noise_and_without_margins():
    (finding,) = margins_of(of_margins(4, 1.0), of_margins(8, 2.0), of_margins(16, 3.0))
    assert [number.value for number in finding.of("margin")] == [1.0, 2.0, 3.0]
    assert sentence(finding).endswith(
        ": 1.00 [0.90, 1.10] at width 4, 2.00 [1.90, 2.10] at width 8, 3.00 [2.90, 3.10] at width 16."
    )
    assert margins_of(*(of_margins(width, NOTHING) for width in (4, 8, 16))) == []


def of_stream(stream, share, disagreement=0.31, own=NOTHING, **others):
    shares = with_ends("total_share", share) | with_ends("own_share", own)
    covers = {"total_share_interval_covers": "models and planes", "own_share_interval_covers": "nothing"}
    return KEY | {"stream": stream, "disagreement": disagreement} | shares | covers | others


def test_streams_of_the_first_planes_at_the_last_epoch():
    table = pd.DataFrame(
        [
            of_stream("init", 0.9), of_stream("order+augmentation", 0.7), of_stream("label_noise", NOTHING),
            of_stream("init", 0.1, plane_set="train"), of_stream("init", 0.2, epoch=1),
            of_stream("init", 0.5, disagreement=0.2, own=0.3, width=8),
            of_stream("dropout", 0.25, disagreement=0.2, width=8),
        ]
    )  # fmt: skip
    first, second = streams(table)
    assert [(n.role, n.value) for n in first.of("total_share")] == [("init", 0.9), ("order+augmentation", 0.7)]
    assert [(n.role, n.value) for n in second.of("own_share")] == [("init", 0.3)]
    assert [one.number("all", "disagreement").value for one in (first, second)] == [0.31, 0.2]
    assert (
        "initialisation 90% [80, 100], data order with augmentation 70% [60, 80] (intervals over seeds and planes)"
        in (sentence(first))
    )


@pytest.mark.parametrize("rows", [[], [of_stream("init", NOTHING, disagreement=0.0)]])
def test_without_shares_there_is_no_finding_about_streams(rows):
    assert streams(pd.DataFrame(rows, columns=list(of_stream("init", 0.0)))) == []


def of_grid(kind, points, fragmentation, large):
    row = KEY | {"kind": kind, "resolution": points, **with_ends("fragmentation", fragmentation)}
    return row | with_ends("large_regions", large)


def test_resolutions_of_the_group_with_most_regions():
    few = [of_grid("grid", 25, 3.0, 2.0), of_grid("grid", 49, 3.5, 2.1), of_grid("extrapolated", None, NOTHING, 2.2)]
    most = [{**row, "width": 8, "large_regions": row["large_regions"] + 3} for row in few]
    earlier = [{**row, "epoch": 1, "large_regions": 99} for row in few]
    table = pd.DataFrame([*few, *most, *earlier]).astype({"resolution": float})
    named = pd.DataFrame([KEY, KEY | {"width": 8}, KEY | {"epoch": 1}])
    (finding,) = resolution(table, named)
    assert str(finding.subject) == "net, width 8"
    grids = [(n.subject.keys["resolution"], n.value) for n in finding.of("large_regions", "grid")]
    assert grids == [(25, 5.0), (49, pytest.approx(5.1))]
    assert finding.number("limit", "large_regions").value == pytest.approx(5.2)
    assert "25 points a side: 3.00 (5.00), 49 points a side: 3.50 (5.10)" in sentence(finding)
    assert resolution(table.astype({"resolution": "Int64"}), named) == [finding]
    assert resolution(table.iloc[:0], named) == []


def test_models_that_predict_one_class():
    counts = [width % 3 for width in range(1, 13)]
    (finding,) = found_in(groups([0.5] * 12, n_constant=counts)).of(Kind.CONSTANT)
    assert [number.value for number in finding.numbers] == [sum(counts), *filter(None, counts)]
    assert sentence(finding).endswith("label noise 0.2 (2 of 3); and 2 more.")
    assert not found_in(groups([0.5] * 12)).of(Kind.CONSTANT)
