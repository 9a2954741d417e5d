"""The table `groups` against a naive computation from the stored files."""

import itertools

import numpy as np
import pytest
from conftest import small_sweep
from sklearn.metrics import cohen_kappa_score
from support.made_up_runs import CROSSED, labels_of, made_up_run, noise, predictions_of, region_sizes

from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.scores.groups import GROUP
from dbviz_ray.analysis.statistics.intervals import ends
from dbviz_ray.analysis.tables import compute_tables, read_table, write_tables
from dbviz_ray.analysis.tables.groups import uncertain_scores

UNASKED = ("soft_agreement", "margin", "margin_median", "margin_correct", "margin_mislabelled")
REQUIRED = [*GROUP, "n_models", "n_diverged", "n_failed", "plane_set", *SCORES]


def test_groups_have_the_promised_columns(finished_run):
    store, _ = finished_run
    table = read_table(store, "groups")
    assert list(table.columns[: len(REQUIRED)]) == REQUIRED
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
        maps = labels_of(store, plane_set, models)
        pairs = list(itertools.combinations(range(3), 2))
        assert row["reproducibility"] == pytest.approx(np.mean([(maps[a] == maps[b]).mean() for a, b in pairs]))
        kappas = [cohen_kappa_score(maps[a].reshape(-1), maps[b].reshape(-1)) for a, b in pairs]
        assert row["kappa"] == pytest.approx(np.mean(kappas), abs=1e-6)
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
        alike = [(predicted[a] == predicted[b]).mean() for a, b in pairs]  # of the test images
        assert row["agreement_on_test_images"] == pytest.approx(np.mean(alike))
        right = (predicted == given).mean(axis=1)
        classes = len(store.read_parquet(store.planes_file(plane_set))[1]["class_names"])
        chances = [right[a] * right[b] + (1 - right[a]) * (1 - right[b]) / (classes - 1) for a, b in pairs]
        beyond = [(observed - chance) / (1 - chance) for observed, chance in zip(alike, chances, strict=True)]
        assert row["capa"] == pytest.approx(np.mean(beyond))
        assert row[["n_models", "n_diverged", "n_failed"]].tolist() == [3, 0, 0]
        assert row["test_error_spread"] == pytest.approx(np.std(1 - right, ddof=1))
        assert 0 <= row["test_error_spread_beyond_test_set"] < row["test_error_spread"]
        assert row["n_constant"] == sum(len(set(of_model)) == 1 for of_model in predicted)
        assert row["n_planes"] == sweep.planes[plane_set].count
        if sweep.planes[plane_set].probabilities:
            chances = [store.read_probabilities(plane_set, m.model_id, 3).astype(float) for m in models]
            soft = np.mean([(chances[a] * chances[b]).sum(axis=-1).mean() for a, b in pairs])
            assert row["soft_agreement"] == pytest.approx(soft, rel=1e-5)
        else:
            assert np.isnan(row["soft_agreement"])


@pytest.mark.filterwarnings("error")
def test_models_that_say_one_class_everywhere(tmp_path):
    """Where all say the same one, kappa is not known; where each says another, there is no agreement."""
    sweep = small_sweep(grid={"width": [4, 8], "seed": [0, 1, 2]})
    store = made_up_run(tmp_path, sweep, label_maps=lambda m, truth: np.full_like(truth, m.seeds.init * (m.width == 8)))
    same, other = compute_tables(store, sweep)["groups"].to_dict(orient="records")
    assert same["reproducibility"] == same["fragmentation"] == same["largest_region"] == 1
    assert np.isnan([same[f"kappa{end}"] for end in ("", "_low", "_high")]).all()
    assert (other["reproducibility"], other["kappa"]) == (0, 0)


def test_trainings_that_predict_one_class_for_all_images_are_counted(tmp_path):
    sweep = small_sweep(grid={"width": [4, 8], "seed": [0, 1, 2]})
    store = made_up_run(tmp_path, sweep)
    for model in sweep.models()[:2]:
        file = store.model_file(model.model_id, "predictions.parquet")
        table = store.read_parquet(file)[0]
        ones = np.where(np.asarray(table["split"]) == "test", 1, table["predicted"].to_numpy()).astype(np.uint8)
        place = table.schema.get_field_index("predicted")
        store.write_parquet(file, table.set_column(place, "predicted", [ones]))
    tables = compute_tables(store, sweep)
    assert tables["groups"]["n_constant"].tolist() == [2, 0]
    assert tables["models"]["predicted_classes"].tolist() == [1, 1, 4, 4, 4, 4]


def by_seeds(model, truth):
    """Half of the points follow the initialisation, a fifth the order."""
    return noise(noise(truth, 0.5, 1, model.seeds.init), 0.2, 2, model.seeds.order)


def test_crossed_seeds_compare_what_differs_in_every_stream(tmp_path):
    sweep = small_sweep(grid=CROSSED)
    store = made_up_run(tmp_path, sweep, label_maps=by_seeds)
    row = compute_tables(store, sweep)["groups"].iloc[0]
    seeds = [(model.seeds.init, model.seeds.order) for model in sweep.models()]
    maps = dict(zip(seeds, labels_of(store, "test", sweep.models()), strict=True))
    every = list(itertools.combinations(maps, 2))
    pairs = [(a, b) for a, b in every if a[0] != b[0] and a[1] != b[1]]
    assert len(pairs) == 18
    naive, of_every = (np.mean([(maps[a] == maps[b]).mean() for a, b in some]) for some in (pairs, every))
    assert row["reproducibility"] == pytest.approx(naive)
    assert abs(naive - of_every) > 0.01
    kappas = [cohen_kappa_score(maps[a].reshape(-1), maps[b].reshape(-1)) for a, b in pairs]
    assert row["kappa"] == pytest.approx(np.mean(kappas), abs=1e-6)
    assert row["reproducibility_interval_covers"] == "models and planes"


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


def test_rows_give_back_the_intervals(made_up):
    tables = made_up[2]
    groups = tables["groups"].set_index(["plane_set", "width", "label_noise"])
    assert len(tables["uncertainty"]) == groups[list(SCORES)].notna().sum().sum()
    for row, interval, variances in uncertain_scores(tables["uncertainty"]):
        assert interval.models == 3
        group = groups.loc[(row["plane_set"], row["width"], row["label_noise"])]
        assert_same_interval(row["score"], interval, variances, group)


def assert_same_interval(score, interval, variances, group):
    found = ends(np.array(interval.value), np.array(variances.reach()), SCORES[score])
    assert found == pytest.approx([group[f"{score}_low"], group[f"{score}_high"]]), score
    assert (interval.low, interval.value) == pytest.approx((group[f"{score}_low"], group[score])), score


@pytest.mark.parametrize(
    ("fields", "samples"),
    [({"grid": {"width": [4], "seed": [0]}, "scores": ["fragmentation"]}, {0}), ({"grid": CROSSED}, {2, 3})],
    ids=["one model", "crossed seeds"],
)
def test_scores_of_other_samples_come_back_too(tmp_path, fields, samples):
    sweep = small_sweep(**fields)
    store = made_up_run(tmp_path, sweep)
    tables = compute_tables(store, sweep)
    write_tables(store, tables)
    rows = uncertain_scores(read_table(store, "uncertainty"))
    assert {len(variances.models) for _, _, variances in rows} <= samples
    for row, interval, variances in rows:
        assert_same_interval(row["score"], interval, variances, tables["groups"].iloc[0])
