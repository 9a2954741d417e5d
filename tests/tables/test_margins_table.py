"""The table `margins`, and margins in `groups`, against a naive computation from the stored files."""

import numpy as np
import pytest
from conftest import small_sweep
from support.made_up_runs import labels_of, made_up_run, noise, predictions_of, region_sizes

from dbviz_ray.analysis.statistics.estimates import mean_estimate, quantile_estimate, sample_estimate
from dbviz_ray.analysis.statistics.intervals import interval_of
from dbviz_ray.analysis.tables import compute_tables, read_table, write_tables
from dbviz_ray.store import StoredMargins

QUANTILES = {"q10": 0.1, "q25": 0.25, "median": 0.5, "q75": 0.75, "q90": 0.9}


def of_models(store, models):
    """Margins `[models, images]`, whether images are mislabelled, and the share of directions with a change."""
    stored = [store.read_margins(model.model_id, 3) for model in models]
    found = np.stack([np.isfinite(of.distances) for of in stored])
    distances = np.where(found, np.stack([of.distances for of in stored]), np.stack([of.reaches for of in stored]))
    trained = [predictions_of(store, model, "train").iloc[stored[0].indices] for model in models]
    mislabelled = np.stack([(of["given_label"] != of["true_label"]).to_numpy() for of in trained])
    return distances.mean(axis=2), mislabelled, found


def test_margins_equal_a_naive_computation(made_up):
    """Of trainings whose mislabelled images differ, each has its own, and only trainings are a sample."""
    store, sweep, tables = made_up
    table = tables["margins"].set_index(["width", "label_noise", "images"])
    for width in (4, 16):
        assert table.loc[width, 0.0].index.tolist() == ["all"]
        assert table.loc[width, 0.25].index.tolist() == ["all", "correct", "mislabelled"]
    for *kind, images in table.index:
        row = table.loc[(*kind, images)]
        models = [m for m in sweep.models() if [m.width, m.label_noise] == kind]
        distances, mislabelled, found = of_models(store, models)
        assert len({of.tobytes() for of in mislabelled}) == (3 if kind[1] else 1)
        kept = {"all": np.ones_like(mislabelled), "correct": ~mislabelled, "mislabelled": mislabelled}[images]
        each = [own[of] for own, of in zip(distances, kept, strict=True)]
        assert row["mean"] == pytest.approx(np.mean([own.mean() for own in each]))
        for name, share in QUANTILES.items():
            assert row[name] == pytest.approx(np.mean([np.quantile(own, share) for own in each]))
        assert row["found"] == pytest.approx(found[kept].mean())
        assert 0.7 < row["found"] < 1
        assert (row["n_models"], row["n_images"]) == (3, kept.sum(axis=1).min())
        if images == "all":
            assert (row["mean_low"], row["mean_high"]) == ends(mean_estimate(distances))
            assert (row["q10_low"], row["q10_high"]) == ends(quantile_estimate(distances, 0.1))
        else:
            assert (row["mean_low"], row["mean_high"]) == ends(sample_estimate(np.array([o.mean() for o in each])))


def ends(estimate):
    interval = interval_of(estimate, (0.0, np.inf))
    return pytest.approx(interval.low), pytest.approx(interval.high)


def test_groups_and_margins_say_the_same(made_up):
    tables = made_up[2]
    keys = ["width", "label_noise"]
    every = tables["groups"].set_index(keys)
    groups = every[every["plane_set"] == "test"]
    assert every[every["plane_set"] == "train"]["margin"].equals(groups["margin"])
    columns = {("all", "mean"): "margin", ("all", "median"): "margin_median", ("correct", "mean"): "margin_correct",
               ("mislabelled", "mean"): "margin_mislabelled"}  # fmt: skip
    for (images, statistic), score in columns.items():
        rows = tables["margins"][tables["margins"]["images"] == images].set_index(keys)
        for end in ("", "_low", "_high"):
            assert rows[f"{statistic}{end}"].to_numpy() == pytest.approx(groups.loc[rows.index][f"{score}{end}"])
    noiseless = groups.xs(0.0, level="label_noise")
    assert noiseless["margin_mislabelled"].isna().all()
    assert noiseless["margin_correct"].to_numpy() == pytest.approx(noiseless["margin"].to_numpy())
    assert set(groups["n_margin_images"]) == {18}


@pytest.mark.parametrize("stream", ["order", "label_noise"])
def test_crossed_seeds(tmp_path, stream):
    """Intervals are over the seeds of each stream. Mislabelled images differ with the seed of the label noise alone."""
    grid = {"width": [4], "label_noise": [0.25], "seed": [0], "init_seed": [0, 1, 2], f"{stream}_seed": [0, 1, 2]}
    sweep = small_sweep(grid=grid, margins={"images": 18, "directions": 2})
    store = made_up_run(tmp_path, sweep)
    tables = compute_tables(store, sweep)
    distances, mislabelled, _ = of_models(store, sweep.models())
    table, group = tables["margins"].set_index("images"), tables["groups"].iloc[0]
    assert (mislabelled == mislabelled[0]).all() == (stream == "order")
    if stream == "order":
        streams = [np.repeat(range(3), 3), np.tile(range(3), 3)]
        only = quantile_estimate(distances[:, mislabelled[0]], 0.5, streams)
        assert (table["median_low"]["mislabelled"], table["median_high"]["mislabelled"]) == ends(only)
    for end in ("_low", "_high"):
        assert table[f"median{end}"]["all"] == pytest.approx(group[f"margin_median{end}"])
        assert table[f"mean{end}"]["mislabelled"] == pytest.approx(group[f"margin_mislabelled{end}"])


def test_images_of_the_test_split_are_not_mislabelled(tmp_path):
    margins = {"images": 8, "directions": 2, "split": "test"}
    sweep = small_sweep(grid={"width": [4], "label_noise": [0.25], "seed": [0, 1]}, margins=margins)
    tables = compute_tables(made_up_run(tmp_path, sweep), sweep)
    assert tables["margins"]["images"].tolist() == ["all"]
    assert tables["groups"]["margin_mislabelled"].isna().all()


@pytest.mark.parametrize(("scan", "mean", "median"), [("even", 8.5 / 4, 1.75), ("paper", (2 + 1 + 4 + 1) / 4, 1.5)])
def test_what_counts_where_nothing_is_found(tmp_path, scan, mean, median):
    """How far was looked; in the paper's scan only for an image without any change."""
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]}, margins={"images": 4, "directions": 2, "scan": scan})
    store = made_up_run(tmp_path, sweep)
    reaches, indices = np.array([[1, 3], [2, 2], [4, 4], [1, 1]], np.float32), np.arange(4, dtype=np.int32)
    distances = np.full_like(reaches, np.inf)
    distances[1, 0] = 1
    stored = StoredMargins(indices, np.zeros(4, np.uint8), distances, reaches, {"split": "train"})
    for model in sweep.models():
        store.write_margins(model.model_id, 3, stored)
    (row,) = compute_tables(store, sweep)["margins"].to_dict(orient="records")
    assert (row["mean"], row["median"], row["found"]) == (mean, median, 1 / 8)


def in_blocks(model, truth):
    """Blocks of 3 points a side, some of them changed by each model."""
    coarse = noise(truth[:, ::3, ::3], 0.3, model.seeds.init)
    return coarse.repeat(3, axis=1).repeat(3, axis=2)[:, : truth.shape[1], : truth.shape[2]]


def test_coarser_grids_and_their_limit(tmp_path, made_up):
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
        for row, step in ((fine, 1), (coarse, 2)):
            each = [region_sizes(plane[::step, ::step]) for of_model in maps for plane in of_model]
            large = [(sizes >= 0.002 * row["resolution"] ** 2).sum() for sizes in each]
            assert row["fragmentation"] == pytest.approx(np.mean([len(sizes) for sizes in each]))
            assert row["large_regions"] == pytest.approx(np.mean(large))
        extrapolated = (48**2 * fine["large_regions"] - 24**2 * coarse["large_regions"]) / (48**2 - 24**2)
        assert limit["large_regions"] == pytest.approx(extrapolated)
        assert np.isnan(limit["fragmentation"])
        assert limit["large_regions_low"] < limit["large_regions"] < limit["large_regions_high"]
        assert (limit["n_models"], limit["n_planes"]) == (3, 3)
        group = tables["groups"].set_index("width").loc[width]
        for column in ("fragmentation", "fragmentation_low", "large_regions_high"):
            assert fine[column] == pytest.approx(group[column])
    write_tables(store, tables)
    assert read_table(store, "resolution")["resolution"].tolist()[:2] == [25, 49]
    assert made_up[2]["resolution"].empty, "its grid holds no coarser one"
