"""Curves, their representative points, and whether their peaks are beyond chance."""

import pandas as pd
import pytest
from conftest import small_sweep
from support.group_tables import DESCENT, curve, groups
from support.made_up_runs import made_up_run
from support.table_rows import KEY

from dbviz_ray.analysis.findings.curves import EPOCH, WIDTH, curves, representative_curves
from dbviz_ray.analysis.tables import compute_tables
from dbviz_ray.analysis.tables.groups import CURVE

OVER_EPOCHS = {"width": 8, "epoch": [1, 10, 100, 1000]}


def test_peaks_of_other_curves_do_not_count():
    others = [{"recipe": "other"}, {"label_noise": 0.0}, {"plane_set": "train"}, {"score": "fragmentation"}]
    row = {name: KEY[name] for name in ("plane_set", *CURVE)} | {"score": "test_error", "p_value": 0.001}
    table = pd.DataFrame([row | {"p_value": 0.06}, *(row | other for other in others)])
    (one,) = curves(groups(DESCENT, reach=0.01), WIDTH, table)
    assert (one.peak_p_value, one.has_peak) == (0.06, False)


def tabled(directory, grid, error):
    """What `curves` takes, of a made-up run."""
    sweep = small_sweep(grid=grid)
    tables = compute_tables(made_up_run(directory, sweep, error=error), sweep)
    return tables["groups"], WIDTH, tables["peaks"]


def test_tables_of_a_run_with_a_clear_peak(tmp_path):
    """Of 43 widths, too many to compare in pairs, or at two learning rates."""
    error = {width: 0.1 + (19 < width < 22) / 2 for width in range(2, 45)}
    table, axis, found = tabled(tmp_path / "many", {"width": list(error), "seed": [0, 1]}, lambda m, _: error[m.width])
    (one,) = curves(table, axis, found)
    assert one.has_peak
    assert (one.peak_p_value < 0.05, found["n_widths"].max(), found["n_models"].max()) == (True, 43, 86)
    of_scores = found.set_index("score")
    assert of_scores.loc["test_error", ["width_low", "width_high"]].tolist() == [20, 21]
    assert of_scores.loc["reproducibility", "p_value"] < 0.05
    assert of_scores.loc["reproducibility", "interval_covers"] == "models and planes"
    grid = {"width": [4, 8, 16], "learning_rate": [0.01, 0.1], "seed": [0, 1, 2], "label_noise": [0.0]}
    errors = {4: 0.1, 8: 0.9, 16: 0.1}
    found = curves(*tabled(tmp_path / "rates", grid, lambda m, _: errors[m.width]))
    assert [one.has_peak for one in found] == [True, True]


def test_representative_rows_over_epochs():
    over = curve(DESCENT, axis=EPOCH, **OVER_EPOCHS)
    assert over.has_peak
    assert not over.peaks, "without a test"
    assert over.shown_rows == {"first": 0, "best early": 1, "peak": 2, "last": 3}
    rising = curve([0.7, 0.2, 0.3, 0.4], axis=EPOCH, **OVER_EPOCHS)
    assert rising.shown_rows == {"first": 0, "lowest error": 1, "last": 3}
    assert len(curve([0.2, 0.1], axis=EPOCH, width=4, epoch=[1, 2]).rows) == 2


@pytest.mark.parametrize(
    ("errors", "rows"),
    [
        ([0.7, 0.5, 0.2, 0.1], {"narrowest": 0, "widest": 3}),
        ([0.7, 0.5, 0.51, 0.2, 0.4, 0.1], {"narrowest": 0, "best narrow": 3, "peak": 4, "widest": 5}),
        ([0.2, 0.3, 0.1], {"best narrow": 0, "peak": 1, "widest": 2}),
    ],
)
def test_representative_rows_over_width(errors, rows):
    found = curve(errors)
    assert found.representative_rows == rows
    assert found.has_peak == ("peak" in rows)


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
    assert [one.name for one in representative_curves(found, 3)] == ["net, r0", "net, r2", "net, r4"]
    assert {one.key["label_noise"] for one in representative_curves(found, 3)} == {0.2}
