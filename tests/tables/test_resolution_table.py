"""The table `resolution`: counts on the grids that a grid holds, and their limit."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import small_sweep
from skimage.measure import label as skimage_label
from support.made_up_runs import labels_of, made_up_run

from dbviz_ray.analysis.tables import compute_tables, read_table, write_tables


def counts(maps, least):
    """Regions, and those of at least so large a share, of every model on every plane."""
    found = []
    for plane in maps.reshape(-1, *maps.shape[2:]):
        sizes = [n for c in np.unique(plane) for n in np.bincount(skimage_label(plane == c, connectivity=2).flat)[1:]]
        found.append((len(sizes), sum(size >= least * plane.size for size in sizes)))
    return np.array(found, dtype=float).reshape(*maps.shape[:2], 2)


def in_blocks(model, truth):
    """Blocks of 3 points a side, some of them changed by each model."""
    coarse = truth[:, ::3, ::3].copy()
    generator = np.random.default_rng(model.seeds.init)
    changed = generator.random(coarse.shape) < 0.3
    coarse[changed] = generator.integers(0, 4, coarse.shape)[changed]
    return coarse.repeat(3, axis=1).repeat(3, axis=2)[:, : truth.shape[1], : truth.shape[2]]


def test_coarser_grids_and_their_limit(tmp_path):
    sweep = small_sweep(grid={"width": [4, 8], "seed": [0, 1, 2]}, planes={"test": {"count": 3, "resolution": 49}})
    store = made_up_run(tmp_path, sweep, label_maps=in_blocks)
    tables = compute_tables(store, sweep)
    table = tables["resolution"]
    assert table["kind"].tolist() == ["grid", "grid", "extrapolated"] * 2
    assert table["resolution"].isna().tolist() == [False, False, True] * 2
    for width, rows in table.groupby("width"):
        coarse, fine, limit = rows.to_dict(orient="records")
        assert (coarse["resolution"], fine["resolution"]) == (25, 49)
        maps = labels_of(store, "test", [m for m in sweep.models() if m.width == width])
        on_fine, on_coarse = (counts(some, 0.002) for some in (maps, maps[:, :, ::2, ::2]))
        for row, found in ((fine, on_fine), (coarse, on_coarse)):
            assert row["fragmentation"] == pytest.approx(found[..., 0].mean())
            assert row["large_regions"] == pytest.approx(found[..., 1].mean())
        extrapolated = (48**2 * on_fine[..., 1] - 24**2 * on_coarse[..., 1]) / (48**2 - 24**2)
        assert limit["large_regions"] == pytest.approx(extrapolated.mean())
        assert np.isnan(limit["fragmentation"])
        assert limit["large_regions_low"] < limit["large_regions"] < limit["large_regions_high"]
        assert (limit["n_models"], limit["n_planes"]) == (3, 3)
        group = tables["groups"].set_index("width").loc[width]
        for column in ("fragmentation", "fragmentation_low", "large_regions_high"):
            assert fine[column] == pytest.approx(group[column])
    write_tables(store, tables)
    assert read_table(store, "resolution")["resolution"].tolist()[:2] == [25, 49]


def test_a_grid_that_holds_no_coarser_one_has_no_rows(made_up):
    assert made_up[2]["resolution"].empty
