"""How probable a peak of the test error is by chance."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.made_up_runs import made_up_run

from dbviz_ray.analysis.findings.curves import EPOCH, WIDTH, curves, has_peak, peak_p_value, representative_rows
from dbviz_ray.analysis.scores.groups import GROUP
from dbviz_ray.analysis.tables import compute_tables

KEY = {"architecture": "net", "options": "", "label_noise": 0.2, "recipe": "default", "learning_rate": 0.01,
       "epoch": 100}  # fmt: skip
WIDTHS = [2, 4, 8, 16]


def groups(errors, reach=0.01, widths=WIDTHS):
    table = pd.DataFrame({"test_error": errors, "width": widths}).assign(**KEY, plane_set="test", n_models=3)
    return table.assign(test_error_low=table["test_error"] - reach, test_error_high=table["test_error"] + reach)


def differences(errors, p_values, widths=WIDTHS):
    """Every pair of widths as the table has them; p-values of some, and 0.9 of the others."""
    rows = []
    for a, b in itertools.combinations(range(len(errors)), 2):
        row = {"score": "test_error", "difference": errors[a] - errors[b], "plane_set": "test"}
        row["p_value"] = p_values.get(frozenset({widths[a], widths[b]}), 0.9)
        for side, place in (("a", a), ("b", b)):
            row |= {f"{column}_{side}": KEY[column] for column in KEY if column != "label_noise"}
            row[f"width_{side}"] = widths[place]
        rows.append(row | {"label_noise": 0.2})
    others = [{**row, "score": "train_error", "p_value": 1e-9} for row in rows]
    return pd.DataFrame([*others, *rows])


def one_curve(errors, p_values, widths=WIDTHS):
    (curve,) = curves(groups(errors, widths=widths), WIDTH, differences(errors, p_values, widths))
    return curve


DESCENT = [0.7, 0.2, 0.3, 0.1]
LOW = {frozenset({4, 8}): 0.004, frozenset({8, 16}): 0.001}


def test_by_hand():
    """The larger of the two one-sided p-values, 0.002, times the 3 ways to choose a peak and a point before it."""
    curve = one_curve(DESCENT, LOW)
    assert representative_rows(curve) == {"narrowest": 0, "best narrow": 1, "peak": 2, "widest": 3}
    assert peak_p_value(curve) == pytest.approx(0.006)
    assert has_peak(curve)


def test_the_order_of_widths_in_the_table_does_not_matter():
    order = [3, 1, 0, 2]
    curve = one_curve([DESCENT[place] for place in order], LOW, [WIDTHS[place] for place in order])
    assert peak_p_value(curve) == pytest.approx(0.006)


def test_a_difference_in_the_other_direction_is_no_evidence():
    """Were the best point before the peak above it, its small two-sided p-value would speak against a peak."""
    curve = one_curve(DESCENT, LOW)
    turned = curve.differences.assign(difference=-curve.differences["difference"])
    against = type(curve)(curve.axis, curve.key, curve.name_parts, curve.rows, turned)
    assert peak_p_value(against) == 1.0
    assert not has_peak(against)


def test_a_peak_within_the_noise_is_none():
    curve = one_curve(DESCENT, LOW | {frozenset({8, 16}): 0.04})
    assert peak_p_value(curve) == pytest.approx(0.06)
    assert not has_peak(curve)


def test_where_the_two_were_not_compared_the_intervals_tell():
    curve = one_curve(DESCENT, LOW)
    pairs = curve.differences
    without = pairs[~((pairs["width_a"] == 4) & (pairs["width_b"] == 8))]
    unknown = type(curve)(curve.axis, curve.key, curve.name_parts, curve.rows, without)
    assert math.isnan(peak_p_value(unknown))
    assert has_peak(unknown)
    (wide,) = curves(groups(DESCENT, reach=0.06), WIDTH, differences(DESCENT, LOW).iloc[:0])
    assert math.isnan(peak_p_value(wide))
    assert not has_peak(wide)
    nothing_known = type(curve)(curve.axis, curve.key, curve.name_parts, curve.rows, pairs.assign(p_value=math.nan))
    assert math.isnan(peak_p_value(nothing_known))


def test_other_curves_differences_are_not_this_ones():
    pairs = pd.concat([differences(DESCENT, LOW), differences(DESCENT, {}).assign(recipe_a="other", recipe_b="other"),
                       differences(DESCENT, {}).assign(label_noise=0.0), differences(DESCENT, {}).assign(
                       plane_set="train")])  # fmt: skip
    (curve,) = curves(groups(DESCENT), WIDTH, pairs)
    assert len(curve.differences) == 6
    assert peak_p_value(curve) == pytest.approx(0.006)


def test_without_a_peak_there_is_no_p_value():
    assert math.isnan(peak_p_value(one_curve([0.7, 0.5, 0.2, 0.1], LOW)))


def tabled(directory, grid, error, **fields):
    sweep = small_sweep(grid=grid, **fields)
    tables = compute_tables(made_up_run(directory, sweep, error=error), sweep)
    return tables["groups"], tables["differences"]


def test_tables_of_a_run_with_a_clear_peak_and_one_without(tmp_path):
    """The p-value is that of the rows of the table `differences`."""
    grid = {"width": [16, 4, 8], "label_noise": [0.0], "seed": [0, 1, 2, 3]}
    errors = {4: 0.1, 8: 0.9, 16: 0.1}
    table, pairs = tabled(tmp_path / "clear", grid, lambda m, _: errors[m.width])
    (curve,) = curves(table, WIDTH, pairs)
    of_errors = pairs[pairs["score"] == "test_error"]
    both = of_errors[(of_errors["width_a"] == 8) | (of_errors["width_b"] == 8)]
    assert len(both) == 2
    assert peak_p_value(curve) == pytest.approx(both["p_value"].max() / 2)
    assert has_peak(curve)
    table, pairs = tabled(tmp_path / "noise", grid | {"seed": [0, 1]}, lambda m, _: 0.5)
    (curve,) = curves(table.assign(test_error=[0.5, 0.5, 0.55]), WIDTH, pairs)
    assert not has_peak(curve)


def test_too_many_groups_to_be_compared_and_rates_that_are_not_the_best_do_not_crash(tmp_path):
    error = {width: 0.1 if width in (2, 42) else 0.2 + (width == 20) / 2 for width in range(2, 43)}
    table, pairs = tabled(tmp_path / "many", {"width": list(error), "seed": [0, 1]}, lambda m, _: error[m.width])
    assert pairs.empty
    (curve,) = curves(table, WIDTH, pairs)
    assert math.isnan(peak_p_value(curve))
    assert has_peak(curve) in (True, False)
    grid = {"width": [4, 8, 16], "learning_rate": [0.01, 0.1], "seed": [0, 1]}
    best = {4: 0.01, 8: 0.1, 16: 0.01}
    table, pairs = tabled(
        tmp_path / "rates", grid, lambda m, _: 0.1 if m.training.learning_rate == best[m.width] else 0.6
    )
    found = curves(table, WIDTH, pairs)
    assert len(found) == 2
    at_small = next(curve for curve in found if curve.key["learning_rate"] == 0.01)
    assert len(at_small.differences) == 1  # of width 4 and 16
    assert representative_rows(at_small)["peak"] == 1
    assert math.isnan(peak_p_value(at_small))


def test_over_epochs_there_are_no_differences(tmp_path):
    training = {"epochs": 4, "batch_size": 64, "snapshots": [1, 2]}
    errors = {1: 0.1, 2: 0.9, 4: 0.1}
    table, pairs = tabled(tmp_path, {"width": [4], "seed": [0, 1, 2]}, lambda m, epoch: errors[epoch],
                          training=training)  # fmt: skip
    (curve,) = curves(table, EPOCH, pairs)
    assert curve.differences.empty
    assert math.isnan(peak_p_value(curve))
    assert has_peak(curve)
    assert set(GROUP) <= set(curve.rows.columns)
    assert np.isfinite(curve.rows["test_error"]).all()
