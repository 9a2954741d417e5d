"""Tables against a naive computation from the stored files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import small_sweep
from made_up_runs import labels_of, made_up_run
from skimage.measure import label as skimage_label

from analysis.group_scores import SCORES
from analysis.groups import GROUP, names_of, options_text
from analysis.tables import NoModelsError, compute_tables, read_table, tables_of, write_tables
from dbviz_ray.sweep_files import load_sweep

UNASKED = ("soft_agreement", "margin", "margin_median", "margin_correct", "margin_mislabelled")
REQUIRED = [*GROUP, "n_models", "n_diverged", "plane_set", *SCORES]
RECIPES = {"Adam": {}, "SGD": {"optimizer": "sgd"}}
CASES = [
    {"architecture": ["fully_connected"], "width": [4]},
    {"architecture": ["vit"], "width": [8], "options": {"patch_size": 2}},
]


def compared_sweep(**fields):
    """Two architectures, two recipes, three seeds, one snapshot."""
    training = {"epochs": 3, "batch_size": 64, "snapshots": [1]}
    return small_sweep(grid={"recipes": RECIPES, "seed": [0, 1, 2]}, cases=CASES, training=training, **fields)


def test_groups_have_the_promised_columns(finished_run):
    store, _ = finished_run
    table = read_table(store, "groups")
    assert list(table.columns[: len(REQUIRED)]) == REQUIRED
    assert {f"{score}_{end}" for score in SCORES for end in ("low", "high")} <= set(table.columns)
    header = store.read("scores/groups.csv").decode().splitlines()[0]
    assert header.startswith("architecture,options,width,label_noise,recipe,learning_rate,epoch,n_models,n_diverged")
    assert len(table) == 2 * 2 * 2  # widths, noise levels, plane sets
    assert set(table["tested_on"]) == {"test"}
    for score in SCORES:
        known = table[table[score].notna()]
        assert len(known) == (0 if score in UNASKED else len(table))
        assert (known[f"{score}_low"] <= known[score]).all()
        assert (known[score] <= known[f"{score}_high"]).all()


def test_scores_equal_a_naive_computation(finished_run):
    store, sweep = finished_run
    table = read_table(store, "groups").set_index(["plane_set", "width", "label_noise"])
    for plane_set, width, noise in table.index:
        row = table.loc[(plane_set, width, noise)]
        models = [m for m in sweep.models() if (m.width, m.label_noise) == (width, noise)]
        maps = labels_of(store, plane_set, models)
        agree = [(a == b).mean() for a, b in itertools.combinations(maps, 2)]
        regions = [sum(skimage_label(p == c, connectivity=2).max() for c in np.unique(p)) for m in maps for p in m]
        assert row["reproducibility"] == pytest.approx(np.mean(agree))
        assert row["fragmentation"] == pytest.approx(np.mean(regions))
        errors = {"train": [], "test": []}
        for model in models:
            predictions = store.read_parquet(store.model_file(model.model_id, "predictions.parquet"))[0].to_pandas()
            for split, part in predictions.groupby("split", observed=True):
                errors[split].append((part["predicted"] != part["given_label"]).mean())
        assert row["train_error"] == pytest.approx(np.mean(errors["train"]))
        assert row["test_error"] == pytest.approx(np.mean(errors["test"]))
        assert (row["n_models"], row["n_diverged"]) == (3, 0)
        assert row["n_planes"] == sweep.planes[plane_set].count


def test_last_test_error_of_the_history_is_that_of_the_predictions(finished_run):
    store, _ = finished_run
    for _, model in read_table(store, "models").iterrows():
        history, _ = store.read_parquet(store.model_file(model["model_id"], "history.parquet"))
        assert history["test_error"][-1].as_py() == pytest.approx(model["test_error"], abs=1e-6)


def test_every_pair_of_models_has_a_row(finished_run):
    store, sweep = finished_run
    pairs = read_table(store, "pairs")
    assert len(pairs) == 2 * 12 * 11 / 2
    assert pairs["same_group"].sum() == 2 * 4 * 3
    one = pairs[pairs["plane_set"] == "train"].iloc[17]
    a, b = labels_of(store, "train", [m for m in sweep.models() if m.model_id in (one["model_a"], one["model_b"])])
    assert one["reproducibility"] == pytest.approx((a == b).mean())


def test_groups_are_compared_with_one_another(tmp_path):
    sweep = compared_sweep()
    store = made_up_run(tmp_path, sweep)
    between = compute_tables(store, sweep)["between_groups"]
    assert len(between) == 4 * 3 / 2
    for _, row in between.iterrows():
        sides = [
            labels_of(store, "test", [m for m in sweep.models() if (m.architecture, m.recipe) == key])
            for key in ((row[f"architecture_{side}"], row[f"recipe_{side}"]) for side in "ab")
        ]
        naive = np.mean([(a == b).mean() for a, b in itertools.product(*sides)])
        assert row["reproducibility"] == pytest.approx(naive)
        assert row["reproducibility_low"] < naive < row["reproducibility_high"]
        assert row["reproducibility_interval_covers"] == "models and planes"
        assert (row["n_models_a"], row["n_models_b"], row["n_planes"]) == (3, 3, 6)


def test_groups_of_other_label_noise_or_too_many_are_not_compared(tmp_path):
    noisy = small_sweep(grid={"width": [4, 8, 16], "label_noise": [0.0, 0.2], "seed": [0, 1]})
    table = compute_tables(made_up_run(tmp_path / "noisy", noisy), noisy)["between_groups"]
    assert table.groupby("label_noise").size().to_dict() == {0.0: 3, 0.2: 3}
    many = small_sweep(grid={"width": list(range(2, 43)), "seed": [0, 1]})
    assert compute_tables(made_up_run(tmp_path / "many", many), many)["between_groups"].empty


def test_snapshots_are_scored_within_their_group(tmp_path):
    sweep = compared_sweep()
    store = made_up_run(tmp_path, sweep, error=lambda model, epoch: 0.9 if epoch == 1 else 0.0)
    tables = compute_tables(store, sweep)
    assert tables["groups"]["epoch"].tolist() == [1, 3] * 4
    assert (tables["groups"].query("epoch == 3")["reproducibility"] == 1).all()
    assert (tables["groups"].query("epoch == 1")["reproducibility"] < 0.5).all()
    assert len(tables["models"]) == 12 * 2
    pairs = tables["pairs"]
    assert (pairs["epoch_a"] == pairs["epoch_b"]).all()
    assert len(pairs.query("epoch_a == 3")) == 12 * 11 / 2
    assert len(pairs.query("epoch_a == 1")) == 4 * 3
    assert pairs.query("epoch_a == 1")["same_group"].all()


def test_diverged_models_are_counted_and_left_out(tmp_path):
    sweep = compared_sweep()

    def diverged(model):
        return model.recipe == "SGD" and (model.architecture == "vit" or model.seeds.init == 0)

    store = made_up_run(tmp_path, sweep, diverged)
    tables = compute_tables(store, sweep)
    last = tables["groups"].query("epoch == 3").set_index(["architecture", "recipe"])
    assert last[["n_models", "n_diverged"]].to_numpy().tolist() == [[3, 0], [2, 1], [3, 0], [0, 3]]
    lost = last.loc[("vit", "SGD")]
    assert lost[list(SCORES)].isna().all()
    assert (lost["n_planes"], lost["reproducibility_interval_covers"]) == (0, "nothing")
    assert last.loc[("fully_connected", "SGD")]["reproducibility_interval_covers"] == "planes"
    assert len(tables["models"]) == 8 * 2
    assert tables["by_recipe"].iloc[1].tolist()[2:] == ["vit", tables["by_recipe"]["Adam"][1], "diverged"]
    write_tables(store, tables)
    assert read_table(store, "groups")["n_diverged"].sum() == 8
    with pytest.raises(NoModelsError, match="all 12 models diverged"):
        compute_tables(made_up_run(tmp_path / "none", sweep, lambda model: True), sweep)


def test_one_model_left_has_no_reproducibility(tmp_path):
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]})
    row = compute_tables(made_up_run(tmp_path, sweep, lambda model: model.seeds.init == 1), sweep)["groups"].iloc[0]
    assert np.isnan(row["reproducibility"])
    assert row["fragmentation"] >= 1


def test_scores_that_are_not_asked_for_are_not_computed(tmp_path):
    sweep = compared_sweep(scores=["fragmentation"])
    tables = compute_tables(made_up_run(tmp_path, sweep), sweep)
    assert tables["groups"]["reproducibility"].isna().all()
    assert tables["pairs"]["reproducibility"].isna().all()
    assert tables["between_groups"].empty
    assert tables["by_recipe"]["Adam"][0].startswith("- (")


def distilled_sweep(teacher):
    recipes = {"alone": {}, "distilled": {"distillation": {"recipe": "alone", **teacher}}}
    return small_sweep(grid={"recipes": recipes, "seed": [0, 1, 2]}, cases=CASES)


def test_students_are_compared_with_their_own_teachers(tmp_path):
    """The teachers are ViTs: ViT students start from the same weights, and their controls are the other teachers."""
    sweep = distilled_sweep({"architecture": "vit"})
    store = made_up_run(tmp_path, sweep)
    table = compute_tables(store, sweep)["distillation"].set_index("student_architecture")
    maps = {
        key: labels_of(store, "test", [m for m in sweep.models() if (m.architecture, m.recipe) == key])
        for key in itertools.product(("vit", "fully_connected"), ("alone", "distilled"))
    }
    teachers = maps["vit", "alone"]
    for architecture in ("vit", "fully_connected"):
        row = table.loc[architecture]
        own = np.mean([(s == t).mean() for s, t in zip(maps[architecture, "distilled"], teachers, strict=True)])
        assert row["student_agreement"] == pytest.approx(own)
        assert row["student_agreement_low"] < own < row["student_agreement_high"]
        assert (row["teacher_architecture"], row["control_recipe"]) == ("vit", "alone")
        assert (row["n_students"], row["n_teachers"], row["n_controls"]) == (3, 3, 3)
    apart = [(a == b).mean() for a, b in itertools.combinations(teachers, 2)]
    assert table.loc["vit"]["control_agreement"] == pytest.approx(np.mean(apart))
    crossed = [(a == b).mean() for a, b in itertools.product(teachers, maps["fully_connected", "alone"])]
    assert table.loc["fully_connected"]["control_agreement"] == pytest.approx(np.mean(crossed))
    assert table["same_start"].to_dict() == {"vit": True, "fully_connected": False}


def test_the_one_teacher_of_all_students_is_not_its_own_control(tmp_path):
    sweep = distilled_sweep({"architecture": "vit", "seed": 0})
    store = made_up_run(tmp_path, sweep)
    row = compute_tables(store, sweep)["distillation"].set_index("student_architecture").loc["vit"]
    teacher, *others = labels_of(
        store, "test", [m for m in sweep.models() if (m.architecture, m.recipe) == ("vit", "alone")]
    )
    assert row["control_agreement"] == pytest.approx(np.mean([(teacher == other).mean() for other in others]))
    assert (row["n_teachers"], row["control_agreement_interval_covers"]) == (1, "models of one side and planes")


def test_students_of_diverged_teachers_are_not_compared(tmp_path):
    sweep = distilled_sweep({"architecture": "vit"})
    store = made_up_run(tmp_path, sweep, lambda m: m.architecture == "vit" and m.teacher is None and m.seeds.init == 0)
    assert compute_tables(store, sweep)["distillation"]["n_students"].tolist() == [2, 2]


def test_pairs_tell_students_and_teachers(tmp_path):
    sweep = distilled_sweep({"architecture": "vit"})
    pairs = compute_tables(made_up_run(tmp_path, sweep), sweep)["pairs"]
    assert pairs["student_and_teacher"].sum() == 6


def test_only_the_best_learning_rates_are_compared(tmp_path):
    sweep = small_sweep(grid={"learning_rate": [0.001, 0.01, 0.1], "recipes": RECIPES, "seed": [0, 1]})
    best = {"Adam": 0.01, "SGD": 0.1}
    store = made_up_run(
        tmp_path, sweep, error=lambda m, epoch: 0.1 if m.training.learning_rate == best[m.recipe] else 0.8
    )
    (row,) = compute_tables(store, sweep)["between_groups"].to_dict(orient="records")
    assert {row[f"recipe_{side}"]: row[f"learning_rate_{side}"] for side in "ab"} == best


def test_held_out_images_are_called_so(tmp_path):
    sweep = small_sweep(dataset={"name": "digits", "train_size": 200, "held_out": 50})
    tables = compute_tables(made_up_run(tmp_path, sweep), sweep)
    assert set(tables["groups"]["tested_on"]) == set(tables["models"]["tested_on"]) == {"held-out"}


def test_tables_of_sweeps():
    always = ("models", "pairs", "groups", "between_groups", "differences", "by_class", "resolution", "uncertainty")
    assert tables_of(load_sweep("double_descent_digits")) == always
    assert tables_of(compared_sweep()) == (*always, "by_recipe")
    assert tables_of(distilled_sweep({})) == (*always, "by_recipe", "distillation")


def test_names_say_what_tells_groups_apart(tmp_path):
    from analysis.groups import groups_of

    assert options_text({"patch_size": 2, "layers": 1}) == "layers=1 patch_size=2"
    sweep = small_sweep(cases=[{"architecture": ["vgg19"], "width": [4]}, {"architecture": ["fully_connected"],
                               "width": [2, 4]}], grid={"seed": [0, 1]})  # fmt: skip
    assert names_of(groups_of(sweep)) == ["vgg19", "fully_connected, width 2", "fully_connected, width 4"]
