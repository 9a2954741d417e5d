"""The table `images` against a naive computation, votes by hand, and what near-equally good trainings differ on."""

import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from support.made_up_runs import predictions_of

from dbviz_ray.analysis.scores.groups import KIND
from dbviz_ray.analysis.scores.votes import flips, image_scores, multiplicity, votes_on


def test_votes_by_hand():
    """Three models on three images: all alike, two of three, each another."""
    predicted = np.array([[1, 0, 0], [1, 0, 1], [1, 2, 2]], np.uint8)
    votes = votes_on(predicted, 3)
    assert votes.tolist() == [[0, 3, 0], [2, 0, 1], [1, 1, 1]]
    found = image_scores(predicted, 3, np.array([0, 0, 2]))
    assert found["most_common"].tolist() == [1, 0, 0]
    assert found["agreement"] == pytest.approx([1, 1 / 3, 0])
    assert found["conflict_ratio"] == pytest.approx([0, 2 / 3, 1])
    assert found["most_common_share"] == pytest.approx([1, 2 / 3, 1 / 3])
    assert found["share_right"] == pytest.approx([0, 2 / 3, 1 / 3])
    assert np.isnan(image_scores(predicted[:1], 3, None)["agreement"]).all(), "one model makes no pair"
    some = np.array([[True, False, True], [True, True, False], [True, False, False]])
    assert votes_on(predicted, 3, some).sum(axis=1).tolist() == [3, 1, 1]


def test_multiplicity_by_hand():
    """The second and third model err within one point of the first on 200 images, the fourth does not."""
    predicted = np.zeros((4, 200), np.uint8)
    predicted[1, :2] = 1  # 1 % wrong
    predicted[2, 2] = 1
    predicted[3, :3] = 2
    found = multiplicity(predicted, predicted != 0)
    assert found == {"n_near_best": 3, "ambiguity": 3 / 200, "discrepancy": 2 / 200}
    alone = multiplicity(predicted[[0, 3]], predicted[[0, 3]] != 0)
    assert alone["n_near_best"] == 1
    assert np.isnan([alone["ambiguity"], alone["discrepancy"]]).all()


def test_flips_by_hand():
    old, new, truth = (np.array(labels, np.uint8) for labels in ([0, 1, 1, 1, 2], [0, 2, 0, 2, 2], [0, 1, 0, 0, 1]))
    changed = ["unchanged", "right to wrong", "wrong to right", "wrong to another wrong", "unchanged"]
    assert flips(old, new, truth).tolist() == changed
    assert flips(old, new, None).tolist() == ["unchanged", *["changed"] * 3, "unchanged"]


def test_the_table_equals_a_naive_computation(made_up):
    store, sweep, tables = made_up
    table, groups = tables["images"], tables["groups"].query("plane_set == 'test'")
    for (width, noise), rows in table.groupby(["width", "label_noise"]):
        models = [m for m in sweep.models() if (m.width, m.label_noise) == (width, noise)]
        for split in ("test", "train"):
            found = pd.concat([predictions_of(store, m, split).reset_index(drop=True) for m in models], keys=range(3))
            of_split = rows[rows["split"] == split].set_index("index")
            if split == "train":
                found = found[found["given_label"] != found["true_label"]]
                assert set(of_split.index) == set(found.index.get_level_values(1)), "false in some training"
            for index, row in of_split.iterrows():
                own = found.xs(index, level=1)
                pairs = [a == b for a, b in itertools.combinations(own["predicted"], 2)]
                assert row["n_models"] == len(own)
                assert row["agreement"] == pytest.approx(np.mean(pairs) if pairs else np.nan, nan_ok=True)
                assert row["share_right"] == pytest.approx((own["predicted"] == own["true_label"]).mean())
                assert row["share_as_given"] == pytest.approx((own["predicted"] == own["given_label"]).mean())
                assert row["most_common_share"] == own["predicted"].value_counts(normalize=True).iloc[0]
                assert row["most_common"] in set(own["predicted"].mode())
                assert row["given_label"] in set(own["given_label"])
        (group,) = groups[(groups["width"] == width) & (groups["label_noise"] == noise)].to_dict("records")
        tested = rows[rows["split"] == "test"]
        assert len(tested) == group["n_test_images"]
        assert tested["agreement"].mean() == pytest.approx(group["agreement_on_test_images"])
        assert 1 - tested["share_right"].mean() == pytest.approx(group["test_error"])
        if group["n_near_best"] > 1:
            assert tested["ambiguous"].mean() == pytest.approx(group["ambiguity"])
            assert group["discrepancy"] <= group["ambiguity"]
    assert (groups["n_near_best"] > 1).any()
    assert table.groupby(KIND).ngroups == 4


def test_scores_do_not_depend_on_how_many_images_are_counted_at_a_time(monkeypatch):
    predicted = np.random.default_rng(1).integers(0, 4, (5, 30), np.uint8)
    counted = np.random.default_rng(2).random((5, 30)) < 0.9
    whole = image_scores(predicted, 4, predicted[0], counted)
    monkeypatch.setattr("dbviz_ray.analysis.scores.votes.MOST_VOTES", 28)
    pd.testing.assert_frame_equal(pd.DataFrame(image_scores(predicted, 4, predicted[0], counted)), pd.DataFrame(whole))


def test_a_thousand_models_on_ten_thousand_images_take_little_memory():
    predicted = np.random.default_rng(0).integers(0, 10, (1000, 10_000), np.uint8)
    tracemalloc.start()
    scores = image_scores(predicted, 10, predicted[0])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10**7
    assert scores["agreement"] == pytest.approx(0.1, abs=0.02)
