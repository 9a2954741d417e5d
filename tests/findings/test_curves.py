"""Curves, their representative points, and the probability of a peak of the test error by chance."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.group_tables import DESCENT, KEY, curve, groups
from support.made_up_runs import made_up_run

from dbviz_ray.analysis.findings.curves import EPOCH, WIDTH, curves, representative_curves
from dbviz_ray.analysis.scores.groups import GROUP
from dbviz_ray.analysis.tables import compute_tables

OVER_EPOCHS = {"width": 8, "epoch": [1, 10, 100, 1000]}
WIDTHS = [2, 4, 8, 16]


def differences(errors, p_values, widths=WIDTHS):
    """Every pair of widths as the table has them; p-values of some, and 0.9 of the others."""
    rows = []
    for of_a, of_b in itertools.combinations(zip(widths, errors, strict=True), 2):
        row = {"score": "test_error", "difference": of_a[1] - of_b[1], "plane_set": "test", "label_noise": 0.2}
        row["p_value"] = p_values.get(frozenset({of_a[0], of_b[0]}), 0.9)
        for side, (width, _) in (("a", of_a), ("b", of_b)):
            row |= {f"{column}_{side}": value for column, value in (KEY | {"width": width}).items()}
        rows.append(row)
    table = pd.DataFrame(rows)
    return pd.concat([table.assign(score="train_error", p_value=1e-9), table])


LOW = {frozenset({4, 8}): 0.004, frozenset({8, 16}): 0.001}
PAIRS = differences(DESCENT, LOW)
OTHERS = differences(DESCENT, {})


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_the_p_value_of_a_peak_by_hand(order):
    """The larger of the two one-sided p-values, 0.002, times the 3 ways to choose a peak and a point before it."""
    errors, widths = [DESCENT[place] for place in order], [WIDTHS[place] for place in order]
    (one,) = curves(groups(errors, width=widths), WIDTH, differences(errors, LOW, widths))
    assert one.representative_rows == {"narrowest": 0, "best narrow": 1, "peak": 2, "widest": 3}
    assert one.peak_p_value == pytest.approx(0.006)
    assert one.has_peak


@pytest.mark.parametrize(
    ("pairs", "reach", "p_value", "peak"),
    [
        (PAIRS.assign(difference=-PAIRS["difference"]), 0.01, 1.0, False),
        (differences(DESCENT, LOW | {frozenset({8, 16}): 0.04}), 0.01, 0.06, False),
        (PAIRS[(PAIRS["width_a"] != 4) | (PAIRS["width_b"] != 8)], 0.01, math.nan, True),
        (PAIRS.iloc[:0], 0.06, math.nan, False),
        (PAIRS.assign(p_value=math.nan), 0.01, math.nan, True),
        (pd.concat([PAIRS, OTHERS.assign(recipe_a="other", recipe_b="other"), OTHERS.assign(label_noise=0.0),
                    OTHERS.assign(plane_set="train")]), 0.01, 0.006, True),
    ],
    ids=["the best point before the peak lies above it", "within the noise", "not compared", "nor beyond the intervals",
         "unknown p-values", "and differences of other curves"],
)  # fmt: skip
def test_differences_decide_on_a_peak_and_without_them_the_intervals(pairs, reach, p_value, peak):
    (one,) = curves(groups(DESCENT, reach=reach), WIDTH, pairs)
    assert one.peak_p_value == pytest.approx(p_value, nan_ok=True)
    assert one.has_peak == peak


def tabled(directory, grid, error, axis=WIDTH, **fields):
    """What `curves` takes, of a made-up run."""
    sweep = small_sweep(grid=grid, **fields)
    tables = compute_tables(made_up_run(directory, sweep, error=error), sweep)
    return tables["groups"], axis, tables["differences"]


def test_tables_of_a_run_with_a_clear_peak_and_one_without(tmp_path):
    """The p-value is that of the rows of the table `differences`."""
    grid = {"width": [16, 4, 8], "label_noise": [0.0], "seed": [0, 1, 2, 3]}
    errors = {4: 0.1, 8: 0.9, 16: 0.1}
    table, axis, pairs = tabled(tmp_path / "clear", grid, lambda m, _: errors[m.width])
    (one,) = curves(table, axis, pairs)
    of_errors = pairs[pairs["score"] == "test_error"]
    both = of_errors[(of_errors["width_a"] == 8) | (of_errors["width_b"] == 8)]
    assert len(both) == 2
    assert one.peak_p_value == pytest.approx(both["p_value"].max() / 2)
    assert one.has_peak
    table, axis, pairs = tabled(tmp_path / "noise", grid | {"seed": [0, 1]}, lambda m, _: 0.5)
    (one,) = curves(table.assign(test_error=[0.5, 0.5, 0.55]), axis, pairs)
    assert not one.has_peak


def test_curves_without_comparisons_have_no_p_value(tmp_path):
    error = {width: 0.1 if width in (2, 42) else 0.2 + (width == 20) / 2 for width in range(2, 43)}
    made = tabled(tmp_path / "many", {"width": list(error), "seed": [0, 1]}, lambda m, _: error[m.width])
    assert made[-1].empty
    (one,) = curves(*made)
    assert math.isnan(one.peak_p_value)
    grid = {"width": [4, 8, 16], "learning_rate": [0.01, 0.1], "seed": [0, 1]}
    best = {4: 0.01, 8: 0.1, 16: 0.01}
    made = tabled(tmp_path / "rates", grid, lambda m, _: 0.6 - (m.training.learning_rate == best[m.width]) / 2)
    found = {one.key["learning_rate"]: one for one in curves(*made)}
    assert len(found) == 2
    at_small = found[0.01]
    assert len(at_small.differences) == 1  # of width 4 and 16
    assert at_small.representative_rows["peak"] == 1
    assert math.isnan(at_small.peak_p_value)


def test_over_epochs_there_are_no_differences(tmp_path):
    training = {"epochs": 4, "batch_size": 64, "snapshots": [1, 2]}
    errors = {1: 0.1, 2: 0.9, 4: 0.1}
    grid = {"width": [4], "seed": [0, 1, 2]}
    (one,) = curves(*tabled(tmp_path, grid, lambda m, epoch: errors[epoch], EPOCH, training=training))
    assert one.differences.empty
    assert math.isnan(one.peak_p_value)
    assert one.has_peak
    assert set(GROUP) <= set(one.rows.columns)
    assert np.isfinite(one.rows["test_error"]).all()


def test_representative_rows_over_epochs():
    over = curve(DESCENT, axis=EPOCH, **OVER_EPOCHS)
    assert over.shown_rows == {"first": 0, "best early": 1, "peak": 2, "last": 3}
    assert curve([0.7, 0.2, 0.3, 0.4], axis=EPOCH, **OVER_EPOCHS).shown_rows == {
        "first": 0, "lowest error": 1, "last": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("errors", "rows"),
    [
        ([0.7, 0.5, 0.2, 0.1], {"narrowest": 0, "widest": 3}),
        ([0.7, 0.5, 0.51, 0.2, 0.4, 0.1], {"narrowest": 0, "best narrow": 3, "peak": 4, "widest": 5}),
        ([0.2, 0.3, 0.1], {"best narrow": 0, "peak": 1, "widest": 2}),
    ],
    ids=["falling", "a bump before the peak", "peak after the narrowest"],
)
def test_representative_rows_over_width(errors, rows):
    found = curve(errors)
    assert found.representative_rows == rows
    assert found.has_peak == ("peak" in rows)
    assert math.isnan(found.peak_p_value)


def test_a_peak_within_the_intervals_is_not_shown():
    assert list(curve([0.7, 0.20, 0.21, 0.1], reach=0.02).shown_rows) == ["narrowest", "middle", "widest"]


@pytest.mark.parametrize(
    ("train", "small", "all_learned"),
    [
        ([0.5, 0.2, 0.1, 0.0], 8, 16),
        ([0.5, 0.4, 0.3, 0.2], None, None),
        ([0.0] * 4, 2, 2),
        ([0.5, 0.05, 0.3, 0.0], 16, 16),
    ],
)
def test_thresholds(train, small, all_learned):
    clean = curve(DESCENT, train)
    assert (clean.small_train_error, clean.interpolation_threshold) == (small, all_learned)
    noisy = curve(DESCENT, train, false_labels_learned=[0.1, 0.99, 0.98, 1.0])
    assert (noisy.small_train_error, noisy.interpolation_threshold) == (small, 16), "whatever the training error"


def test_a_curve_needs_three_widths_or_two_epochs():
    assert curves(groups([0.2, 0.1]), WIDTH) == []
    assert len(curve([0.2, 0.1], axis=EPOCH, width=4, epoch=[1, 2]).rows) == 2


def test_curves_use_the_last_epoch_and_leave_out_diverged_groups():
    early = groups([0.9] * 4, epoch=10)
    table = pd.concat([early, groups([*DESCENT[:3], float("nan")], n_models=[3, 3, 2, 0])])
    (one,) = curves(table, WIDTH)
    assert one.rows["test_error"].tolist() == DESCENT[:3]


def test_curves_over_width_need_half_of_the_groups():
    others = [groups([0.3], architecture=f"other{index}", width=64) for index in range(5)]
    assert curves(pd.concat([groups([0.3, 0.2, 0.1]), *others[:3]]), WIDTH)
    assert not curves(pd.concat([groups([0.3, 0.2, 0.1]), *others]), WIDTH)


def test_representative_curves_are_the_noisiest_evenly_spaced():
    table = pd.concat([groups([0.3] * 3, recipe=f"r{n}", label_noise=z) for n in range(5) for z in (0.0, 0.2)])
    found = curves(table, WIDTH)
    assert len(representative_curves(found, 10)) == 10
    assert [one.name for one in representative_curves(found, 3)] == ["net, r0", "net, r2", "net, r4"]
    assert {one.key["label_noise"] for one in representative_curves(found, 3)} == {0.2}
