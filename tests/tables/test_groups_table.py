"""The tables `groups`, `margins` and `resolution` against naive computations from the stored files."""

import itertools

import numpy as np
import pandas as pd
import pytest
from conftest import small_sweep
from support.made_up_runs import CROSSED, labels_of, made_up_run, naive_scores, noise, predictions_of, region_sizes

from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.scores.groups import GROUP
from dbviz_ray.analysis.statistics.estimates import mean_estimate, quantile_estimate, sample_estimate
from dbviz_ray.analysis.statistics.intervals import ends, interval_of
from dbviz_ray.analysis.tables import compute_tables, read_table, write_tables
from dbviz_ray.analysis.tables.groups import uncertain_scores
from dbviz_ray.store import Store, StoredMargins

UNASKED = ("soft_agreement", "margin", "margin_median", "margin_correct", "margin_mislabelled")
REQUIRED = [*GROUP, "n_models", "n_diverged", "n_failed", "plane_set", *SCORES]


def test_groups_have_the_promised_columns(finished_run):
    store, _ = finished_run
    table = read_table(store, "groups")
    assert store.read("scores/groups.csv").decode().splitlines()[0].startswith(",".join(REQUIRED))
    assert len(table) == 2 * 2 * 2  # widths, noise levels, plane sets
    assert set(table["tested_on"]) == {"test"}
    for score in SCORES:
        known = table[table[score].notna()]
        noisy = len(table) // 2 if score == "false_labels_learned" else len(table)
        assert len(known) == (0 if score in UNASKED else noisy)
        assert known[score].between(known[f"{score}_low"], known[f"{score}_high"]).all()


@pytest.mark.parametrize("run", ["finished_run", "made_up"])
def test_scores_equal_a_naive_computation(run, request):
    store, sweep, *_ = request.getfixturevalue(run)
    tables = request.getfixturevalue("made_up")[2] if run == "made_up" else {"groups": read_table(store, "groups")}
    table = tables["groups"].set_index(["plane_set", "width", "label_noise"])
    for plane_set, *kind in table.index:
        row = table.loc[(plane_set, *kind)]
        models = [m for m in sweep.models() if [m.width, m.label_noise] == kind]
        pairs = pd.DataFrame(naive_scores(store, sweep, plane_set, pair) for pair in itertools.combinations(models, 2))
        assert row[pairs.columns].to_dict() == pytest.approx(pairs.mean().to_dict(), rel=1e-5, abs=1e-6, nan_ok=True)
        maps = labels_of(store, plane_set, models)
        shares = [region_sizes(plane) / plane.size for of_model in maps for plane in of_model]
        assert row["fragmentation"] == pytest.approx(np.mean([len(found) for found in shares]))
        large = [(found >= sweep.minimum_region_share).sum() for found in shares]
        assert row["large_regions"] == pytest.approx(np.mean(large))
        assert row["largest_region"] == pytest.approx(np.mean([max(found) for found in shares]))
        for split in ("train", "test"):
            tables_of_models = [predictions_of(store, model, split) for model in models]
            predicted, given = (np.stack([t[name] for t in tables_of_models]) for name in ("predicted", "given_label"))
            assert row[f"{split}_error"] == pytest.approx((predicted != given).mean())
            assert row[f"n_{split}_images"] == predicted.shape[1]
            if split == "train" and kind[1]:
                false = given != np.stack([t["true_label"] for t in tables_of_models])
                learned = [(p == g)[f].mean() for p, g, f in zip(predicted, given, false, strict=True)]
                assert row["false_labels_learned"] == pytest.approx(np.mean(learned))
        assert row[["n_models", "n_diverged", "n_failed"]].tolist() == [3, 0, 0]
        assert row["test_error_spread"] == pytest.approx(np.std((predicted != given).mean(axis=1), ddof=1))
        assert 0 <= row["test_error_spread_beyond_test_set"] < row["test_error_spread"]
        assert row["n_constant"] == sum(len(set(of_model)) == 1 for of_model in predicted)
        assert row["n_planes"] == sweep.planes[plane_set].count


@pytest.mark.filterwarnings("error")
def test_models_that_say_one_class_everywhere_are_counted(tmp_path):
    """On planes: where all say the same one, kappa is not known; where each says another, there is no agreement."""
    sweep = small_sweep(grid={"width": [4, 8], "seed": [0, 1, 2]})
    store = made_up_run(tmp_path, sweep, label_maps=lambda m, truth: np.full_like(truth, m.seeds.init * (m.width == 8)))
    for model in sweep.models()[:2]:
        file = store.model_file(model.model_id, "predictions.parquet")
        table = store.read_parquet(file)[0]
        ones = np.where(np.asarray(table["split"]) == "test", 1, table["predicted"].to_numpy()).astype(np.uint8)
        place = table.schema.get_field_index("predicted")
        store.write_parquet(file, table.set_column(place, "predicted", [ones]))
    tables = compute_tables(store, sweep)
    same, other = tables["groups"].to_dict(orient="records")
    assert same["reproducibility"] == same["fragmentation"] == same["largest_region"] == 1
    assert np.isnan([same[f"kappa{end}"] for end in ("", "_low", "_high")]).all()
    assert (other["reproducibility"], other["kappa"], other["n_constant"], same["n_constant"]) == (0, 0, 0, 2)
    assert tables["models"]["predicted_classes"].tolist() == [1, 1, 4, 4, 4, 4]


def test_models_equal_a_naive_computation(made_up):
    store, sweep, tables = made_up
    table = tables["models"].set_index(["plane_set", "model_id"])
    assert len(table) == 2 * 12
    for model in sweep.models():
        row = table.loc[("test", model.model_id)]
        assert (row["init_seed"], row["label_noise_seed"], row["teacher"]) == (model.seeds.init, model.seeds.init, "")
        for split in ("train", "test"):
            found = predictions_of(store, model, split)
            assert row[f"{split}_error"] == pytest.approx((found["predicted"] != found["given_label"]).mean())
        assert row["predicted_classes"] == found["predicted"].nunique()
        margins = store.read_margins(model.model_id, 3)
        distances = margins.distances.copy()
        distances[distances == float("inf")] = 5  # how far was looked
        assert row["margin"] == pytest.approx(distances.mean())
        assert row["n_planes"] == 6
        assert row["fragmentation_low"] < row["fragmentation"] < row["fragmentation_high"]
    assert table.loc["train"]["n_planes"].eq(5).all()


@pytest.mark.parametrize(
    ("fields", "samples"),
    [
        (None, {1}),
        ({"grid": {"width": [4], "seed": [0]}, "scores": ["fragmentation"]}, {0}),
        ({"grid": CROSSED}, {2, 3}),
    ],
    ids=["many scores", "one model", "crossed seeds"],
)
def test_rows_give_back_the_intervals(tmp_path, made_up, fields, samples):
    store, tables = Store(tmp_path / "read"), made_up[2]
    if fields:
        sweep = small_sweep(**fields)
        tables = compute_tables(made_up_run(tmp_path / "run", sweep), sweep)
    write_tables(store, tables)
    groups = tables["groups"].set_index(["plane_set", "width", "label_noise"])
    rows = uncertain_scores(read_table(store, "uncertainty"))
    assert len(rows) == groups[list(SCORES)].notna().sum().sum()
    assert {len(variances.models) for _, _, variances in rows} <= samples
    for row, interval, variances in rows:
        group, score = groups.loc[(row["plane_set"], row["width"], row["label_noise"])], row["score"]
        found = ends(np.array(interval.value), np.array(variances.reach()), SCORES[score])
        assert found == pytest.approx([group[f"{score}_low"], group[f"{score}_high"]]), score
        assert (interval.low, interval.value) == pytest.approx((group[f"{score}_low"], group[score])), score


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
            assert (row["mean_low"], row["mean_high"]) == ends_of(mean_estimate(distances))
            assert (row["q10_low"], row["q10_high"]) == ends_of(quantile_estimate(distances, 0.1))
        else:
            assert (row["mean_low"], row["mean_high"]) == ends_of(sample_estimate(np.array([o.mean() for o in each])))


def ends_of(estimate):
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
        assert (table["median_low"]["mislabelled"], table["median_high"]["mislabelled"]) == ends_of(only)
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
