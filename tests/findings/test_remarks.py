"""What is said of margins, random streams, grids and models that predict one class."""

from __future__ import annotations

import pandas as pd
import pytest

from dbviz_ray.analysis.findings.curves import WIDTH, curves
from dbviz_ray.analysis.findings.remarks import (
    constant_sentences,
    margin_sentences,
    resolution_sentences,
    stream_sentences,
)

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


def test_margins_over_a_curve():
    rows = [of_margins(4, 1.0, 1.2, 0.5), of_margins(8, 2.0, 2.2, 1.5, found=0.89), of_margins(16, 3.0, 3.2, 2.5)]
    assert margin_sentences(curves(pd.DataFrame(rows), WIDTH)) == [
        "net, label noise 0.2: how far images are from where the predicted class changes (L2 in normalised pixels): "
        "correctly labelled training images 1.2 [1.1, 1.3] at width 4, 2.2 [2.1, 2.3] at width 8, 3.2 [3.1, 3.3] at "
        "width 16; mislabelled ones 0.5 [0.4, 0.6] at width 4, 1.5 [1.4, 1.6] at width 8, 2.5 [2.4, 2.6] at width 16 "
        "(in up to 11% of directions no change was found; there, the distance searched counts)."
    ]


def test_margins_without_label_noise_and_without_margins():
    rows = [of_margins(4, 1.0), of_margins(8, 2.0), of_margins(16, 3.0)]
    (sentence,) = margin_sentences(curves(pd.DataFrame(rows).assign(label_noise=0.0), WIDTH))
    assert sentence == (
        "net, label noise 0: how far images are from where the predicted class changes (L2 in normalised pixels): "
        "1 [0.9, 1.1] at width 4, 2 [1.9, 2.1] at width 8, 3 [2.9, 3.1] at width 16."
    )
    none = [of_margins(width, NOTHING) for width in (4, 8, 16)]
    assert margin_sentences(curves(pd.DataFrame(none), WIDTH)) == []


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
    assert stream_sentences(table) == [
        "net, width 4, label noise 0.2: trainings that differ in everything disagree on 31.0% of the points; changing "
        "one thing alone makes this share of that: initialisation 90% [80%, 100%], data order with augmentation 70% "
        "[60%, 80%] (intervals over seeds and planes).",
        "net, width 8, label noise 0.2: trainings that differ in everything disagree on 20.0% of the points; changing "
        "one thing alone makes this share of that: initialisation 50% [40%, 60%], dropout 25% [15%, 35%]; keeping one "
        "thing alone the same takes this share away: initialisation 30% [20%, 40%] (intervals over seeds and planes).",
    ]


@pytest.mark.parametrize("rows", [[], [of_stream("init", NOTHING, disagreement=0.0)]])
def test_nothing_to_tell_of_streams(rows):
    assert stream_sentences(pd.DataFrame(rows, columns=list(of_stream("init", 0.0)))) == []


def of_grid(kind, resolution, fragmentation, large, **others):
    row = KEY | {"kind": kind, "resolution": resolution, **with_ends("fragmentation", fragmentation)}
    return row | with_ends("large_regions", large) | others


def test_resolutions_of_the_group_with_most_regions():
    few = [of_grid("grid", 25, 3.0, 2.0), of_grid("grid", 49, 3.5, 2.1), of_grid("extrapolated", None, NOTHING, 2.2)]
    most = [{**row, "width": 8, "large_regions": row["large_regions"] + 3, "large_regions_low": 4,
             "large_regions_high": 6} for row in few]  # fmt: skip
    earlier = [{**row, "epoch": 1, "large_regions": 99} for row in few]
    table = pd.DataFrame([*few, *most, *earlier]).astype({"resolution": "Int64"})
    groups = pd.DataFrame([KEY, KEY | {"width": 8}, KEY | {"epoch": 1}])
    assert resolution_sentences(table, groups) == [
        "net, width 8, label noise 0.2, test planes: regions a plane, and in brackets large ones, as the grid gets "
        "finer: 25 points a side: 3.00 (5.00), 49 points a side: 3.50 (5.10); large ones in the limit: 5.20 [4.00, "
        "6.00]."
    ]
    stored = table.astype({"resolution": float})
    assert resolution_sentences(stored, groups) == resolution_sentences(table, groups)
    assert resolution_sentences(table.iloc[:0], groups) == []


def test_models_that_predict_one_class():
    rows = [KEY | {"width": width, "n_models": 3, "n_constant": width % 3} for width in range(1, 13)]
    table = pd.DataFrame([*rows, KEY | {"width": 1, "epoch": 1, "n_models": 3, "n_constant": 3}])
    (sentence,) = constant_sentences(table)
    assert sentence.startswith(
        "Some trainings learned nothing: they predict one class for every test image. Two of them may agree, and mean "
        "nothing by it; kappa leaves such pairs out: net, width 1, label noise 0.2 (1 of 3); "
        "net, width 2, label noise 0.2 (2 of 3); "
    )
    assert sentence.endswith("net, width 8, label noise 0.2 (2 of 3); and 2 more, see the table groups.")
    assert constant_sentences(table.assign(n_constant=0)) == []
