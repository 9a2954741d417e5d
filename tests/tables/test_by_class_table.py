"""The table `by_class` against a naive computation from the stored files."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import small_sweep
from skimage.measure import label as skimage_label
from support.made_up_runs import CLASSES, labels_of, made_up_run

from dbviz_ray.analysis.tables import compute_tables


def test_classes_equal_a_naive_computation(made_up):
    store, sweep, tables = made_up
    table = tables["by_class"]
    assert len(table) == 2 * 4 * CLASSES
    for plane_set, planes in (("test", 6), ("train", 5)):
        of_set = table[table["plane_set"] == plane_set].set_index(["width", "label_noise", "class"])
        for width, noise, name in of_set.index:
            row, number = of_set.loc[(width, noise, name)], "abcd".index(name)
            models = [m for m in sweep.models() if (m.width, m.label_noise) == (width, noise)]
            maps = labels_of(store, plane_set, models).reshape(-1, 12, 12)
            each = [skimage_label(plane == number, connectivity=2).max() for plane in maps]
            assert row["regions"] == pytest.approx(np.mean(each))
            assert row["area"] == pytest.approx((maps == number).mean(), rel=1e-6)
            assert row["regions_low"] <= row["regions"] <= row["regions_high"]
            own = [plane for plane in range(planes) if plane % CLASSES == number]  # as they were made up
            assert row["n_planes_of_class"] == len(own)
            if len(own) < 2:
                assert np.isnan(row["fragmentation_of_planes"])
                continue
            within = labels_of(store, plane_set, models)[:, own].reshape(-1, 12, 12)
            whole = [sum(skimage_label(p == c, connectivity=2).max() for c in range(CLASSES)) for p in within]
            assert row["fragmentation_of_planes"] == pytest.approx(np.mean(whole))
            assert (row["n_models"], row["n_planes"]) == (3, planes)


def test_regions_of_the_classes_add_up(made_up):
    tables = made_up[2]
    keys = ["plane_set", "width", "label_noise"]
    sums = tables["by_class"].groupby(keys)[["regions", "area"]].sum()
    groups = tables["groups"].set_index(keys).loc[sums.index]
    assert sums["regions"].to_numpy() == pytest.approx(groups["fragmentation"].to_numpy())
    assert sums["area"].to_numpy() == pytest.approx(1)


def test_no_classes_without_regions(tmp_path):
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]}, scores=["reproducibility"])
    tables = compute_tables(made_up_run(tmp_path, sweep), sweep)
    assert tables["by_class"].empty
    assert tables["resolution"].empty
    assert tables["groups"]["fragmentation"].isna().all()
