"""The table `streams`: cases of known shares, and the formulas in plain loops; `distillation`, naively."""

import itertools

import numpy as np
import pytest
from conftest import small_sweep
from support.made_up_runs import CROSSED, distilled_sweep, labels_of, labels_of_kind, made_up_run, noise, predictions_of

from dbviz_ray.analysis.statistics.estimates import Estimate
from dbviz_ray.analysis.statistics.intervals import interval_of
from dbviz_ray.analysis.tables import compute_tables
from dbviz_ray.config.seeds import train_set


def streams(directory, label_maps, grid=CROSSED):
    sweep = small_sweep(grid=grid)
    store = made_up_run(directory, sweep, label_maps=label_maps)
    table = compute_tables(store, sweep)["streams"]
    return table.set_index(table["stream"].map("+".join)), labels_of(store, "test", sweep.models()), sweep.models()


def test_what_only_the_initialisation_changes_is_its_share(tmp_path):
    table, maps, _ = streams(tmp_path, lambda m, truth: noise(truth, 0.5, m.seeds.init))
    shares = [f"{share}_share{end}" for share in ("total", "own") for end in ("", "_low", "_high")]
    assert table.loc["init"][shares].to_numpy(dtype=float) == pytest.approx(1)
    assert table.loc["order"][shares].to_numpy(dtype=float) == pytest.approx(0)
    apart = np.mean([(maps[a] != maps[b]).mean() for a, b in itertools.combinations((0, 3, 6), 2)])
    assert table["disagreement"].to_list() == pytest.approx([apart, apart])
    assert table["disagreement_alone"].to_list() == pytest.approx([apart, 0])
    counts = table[["n_seeds", "n_models", "n_pairs", "n_pairs_alone", "n_planes"]]
    assert counts.to_numpy().tolist() == [[3, 9, 18, 9, 6]] * 2


def test_where_any_change_makes_another_model_totals_are_whole_and_own_shares_nothing(tmp_path):
    table, _, _ = streams(tmp_path, lambda m, truth: noise(truth, 1.0, m.seeds.init, m.seeds.order))
    assert table["total_share"].to_list() == pytest.approx([1, 1], abs=0.02)
    assert table["own_share"].to_list() == pytest.approx([0, 0], abs=0.02)
    assert (table["total_share_high"] == 1).all()
    assert (table["own_share_low"] == 0).all()


def mixed(model, truth):
    """Initialisation matters much, order little, and both together somewhat."""
    changed = noise(truth, 0.4, 1, model.seeds.init)
    changed = noise(changed, 0.15, 2, model.seeds.order)
    return noise(changed, 0.1, 3, model.seeds.init, model.seeds.order)


def shares_in_loops(apart, seeds, place):
    """Total and own share of one of two streams; `apart[a, b]` is how far models a and b disagree."""
    kinds = {"all": [], "alone": [], "others": []}
    for a, b in itertools.combinations(range(len(seeds)), 2):
        own, other = seeds[a][place] != seeds[b][place], seeds[a][1 - place] != seeds[b][1 - place]
        if own or other:
            kinds["all" if own and other else "alone" if own else "others"].append(apart[a, b])
    whole, alone, others = (np.mean(kinds[kind]) for kind in ("all", "alone", "others"))
    return alone / whole, 1 - others / whole


def test_shares_and_their_intervals_in_plain_loops(tmp_path):
    """Pseudo-values by hand: n * whole - (n - 1) * without each seed, and likewise by plane for a ratio of means."""
    table, maps, models = streams(tmp_path, mixed)
    seeds = [(model.seeds.init, model.seeds.order) for model in models]
    on_planes = np.array([[(a != b).mean(axis=(1, 2)) for b in maps] for a in maps])
    apart = on_planes.mean(axis=2)
    for place, stream in enumerate(("init", "order")):
        row = table.loc[stream]
        for kind, name in enumerate(("total", "own")):
            value = shares_in_loops(apart, seeds, place)[kind]
            assert row[f"{name}_share"] == pytest.approx(value)
            samples = []
            for left_out in (0, 1):
                without = []
                for seed in range(3):
                    kept = [index for index, own in enumerate(seeds) if own[left_out] != seed]
                    some = shares_in_loops(apart[np.ix_(kept, kept)], [seeds[index] for index in kept], place)
                    without.append(some[kind])
                samples.append(value - 2 * (np.array(without) - np.mean(without)))
            # The ratio's influence by plane, as a difference quotient.
            small, planes = 1e-6, on_planes.shape[2]
            by_plane = []
            for of_plane in np.eye(planes):
                weights = (1 - small) / planes + small * of_plane
                by_plane.append(value + (shares_in_loops(on_planes @ weights, seeds, place)[kind] - value) / small)
            estimate = Estimate(value, np.array(by_plane), tuple(samples), 9, "models and items")
            expected = interval_of(estimate)
            ends = row[f"{name}_share_low"], row[f"{name}_share_high"]
            assert ends == pytest.approx(np.clip((expected.low, expected.high), 0, 1), rel=1e-4)
            assert row[f"{name}_share_interval_covers"] == "models and planes"


def test_two_seeds_of_a_stream_say_nothing_of_others(tmp_path):
    table, *_ = streams(tmp_path, mixed, CROSSED | {"init_seed": [0, 1]})
    assert set(table["total_share_interval_covers"]) == {"planes"}
    assert (table["total_share_low"] < table["total_share"]).all()


def test_streams_that_change_together_are_one(tmp_path):
    table, *_ = streams(tmp_path, mixed, {"width": [4], "seed": [0, 1, 2], "order_seed": [0, 1, 2]})
    assert table.index.tolist() == ["init+augmentation+dropout+label_noise", "order"]


def test_training_sets_are_a_stream_and_all_images_are_one_of_them(tmp_path):
    cases = [{"seed": [0]}, {"seed": [0], "train_set_seed": [0, 4]}]
    sweep = small_sweep(grid={"width": [4], "init_seed": [0, 1, 2], "label_noise": [0.25]}, cases=cases)
    own = {None: 5, 0: 0, 4: 4}
    store = made_up_run(tmp_path, sweep, label_maps=lambda m, truth: noise(truth, 0.5, own[m.seeds.train_set]))
    tables = compute_tables(store, sweep)
    found, learned = tables["models"].set_index("model_id")["train_error"], []
    for model in sweep.models():
        every = predictions_of(store, model, "train")
        train = every.iloc[np.unique(train_set(len(every), model.seeds.train_set))]
        right = train["predicted"] == train["given_label"]
        assert found[model.model_id] == pytest.approx(1 - right.mean()), "of its own images"
        learned.append(right[train["given_label"] != train["true_label"]].mean())
    scores = tables["groups"][["train_error", "false_labels_learned"]].iloc[0]
    assert scores.tolist() == pytest.approx([found.mean(), np.mean(learned)])
    for name in ("models", "outcomes"):
        assert tables[name]["train_set_seed"].fillna(-1).tolist() == [-1] * 3 + [0, 4] * 3
    assert tables["streams"][["stream", "n_seeds"]].to_numpy().tolist() == [[("init",), 3], [("train_set",), 3]]


def test_where_nothing_differs_there_are_no_shares(tmp_path):
    table, *_ = streams(tmp_path, lambda m, truth: truth)
    assert (table["disagreement"] == 0).all()
    assert table[["total_share", "own_share"]].isna().all(axis=None)
    assert set(table["total_share_interval_covers"]) == {"nothing"}


def test_students_are_compared_with_their_own_teachers(tmp_path):
    """The teachers are ViTs: ViT students start from the same weights, and their controls are the other teachers."""
    sweep = distilled_sweep({"architecture": "vit"})
    store = made_up_run(tmp_path, sweep)
    tables = compute_tables(store, sweep)
    pairs, table = tables["pairs"], tables["distillation"].set_index("student_architecture")
    teachers = labels_of_kind(store, sweep, "vit", "alone")
    for architecture in ("vit", "fully_connected"):
        row = table.loc[architecture]
        students = labels_of_kind(store, sweep, architecture, "distilled")
        own = np.mean([(s == t).mean() for s, t in zip(students, teachers, strict=True)])
        assert row["student_agreement"] == pytest.approx(own)
        assert row["student_agreement_low"] < own < row["student_agreement_high"]
        assert row["difference"] == pytest.approx(own - row["control_agreement"])
        assert (row["teacher_architecture"], row["control_recipe"]) == ("vit", "alone")
        assert (row["n_students"], row["n_teachers"], row["n_controls"]) == (3, 3, 3)
    apart = [(a == b).mean() for a, b in itertools.combinations(teachers, 2)]
    assert table.loc["vit"]["control_agreement"] == pytest.approx(np.mean(apart))
    others = labels_of_kind(store, sweep, "fully_connected", "alone")
    crossed = [(a == b).mean() for a, b in itertools.product(teachers, others)]
    assert table.loc["fully_connected"]["control_agreement"] == pytest.approx(np.mean(crossed))
    assert table["same_start"].to_dict() == {"vit": True, "fully_connected": False}
    both = pairs.loc[pairs["student_and_teacher"], ["model_a", "model_b"]].to_numpy()
    taught = {frozenset((model.model_id, model.teacher)) for model in sweep.models() if model.teacher}
    assert (len(both), set(map(frozenset, both))) == (6, taught)


def test_the_one_teacher_of_all_students_is_not_its_own_control(tmp_path):
    sweep = distilled_sweep({"architecture": "vit", "seed": 0})
    store = made_up_run(tmp_path, sweep)
    row = compute_tables(store, sweep)["distillation"].set_index("student_architecture").loc["vit"]
    teacher, *others = labels_of_kind(store, sweep, "vit", "alone")
    assert row["control_agreement"] == pytest.approx(np.mean([(teacher == other).mean() for other in others]))
    assert (row["n_teachers"], row["control_agreement_interval_covers"]) == (1, "models of one side and planes")
