"""Where two models of a run disagree, and which models a name means."""

import itertools
import re
from collections import Counter

import numpy as np
import pytest
from conftest import small_sweep
from support.drawn_figures import caption_of, drawn_one
from support.made_up_runs import labels_of, predictions_of
from support.refusals import refused

from dbviz_ray.__main__ import main
from dbviz_ray.analysis.figures.disagreement import disagreement_of
from dbviz_ray.analysis.figures.sweep_tables import choose_model, short_names

SNAPSHOTS = small_sweep(training={"epochs": 3, "batch_size": 64, "snapshots": [1, 2]})


def test_a_model_is_named_by_a_part_of_its_id_that_no_other_has():
    first, *_, last = SNAPSHOTS.models()
    for found, model, epoch in (
        (choose_model(SNAPSHOTS, first.model_id, epoch=2), first, 2),
        (choose_model(SNAPSHOTS, "w4-adam-noise0-seed0"), first, 3),
        (choose_model(SNAPSHOTS, "w16-adam-noise0.2-seed2@1"), last, 1),
    ):
        assert (found.config, found.epoch) == (model, epoch)


@pytest.mark.parametrize("name", ["w4-", "vit", "w4-adam-noise0-seed0@7", "w4-adam-noise0-seed0@x"])
def test_a_name_that_means_no_model_or_several_is_refused(name):
    mistake = refused(choose_model, SNAPSHOTS, name)
    assert (mistake.field, mistake.value) == ("model", SNAPSHOTS.models()[0].model_id if "@" in name else name)
    assert ("1, 2, 3" in mistake.allowed) == ("@" in name)


def test_models_are_called_by_what_tells_them_apart():
    models = [choose_model(SNAPSHOTS, f"w{width}-adam-noise0-seed{seed}") for width, seed in ((4, 0), (16, 1))]
    assert short_names(models) == (["w4 seed0", "w16 seed1"], "fully_connected adam noise0")
    early = choose_model(SNAPSHOTS, models[0].model_id, epoch=1)
    assert short_names([models[0], early]) == (["epoch 3", "epoch 1"], "fully_connected w4 adam noise0 seed0")


def test_the_third_map_shows_what_the_second_says_where_it_differs(made_up):
    store, sweep, _ = made_up
    models = choose_model(sweep, "w4-adam-noise0-seed0"), choose_model(sweep, "w16-adam-noise0.25-seed1")
    first, second, where = disagreement_of(store, sweep, models, "train", 2).axes
    maps = [store.read_label_maps("train", model.model_id, 3)[2] for model in models]
    for axes, label_map in zip((first, second), maps, strict=True):
        assert np.array_equal(axes.images[0].get_array(), label_map)
    shown, same = where.images[0].get_array(), maps[0] == maps[1]
    assert 0 < same.mean() < 1
    assert np.array_equal(np.ma.getmaskarray(shown), same)
    assert np.array_equal(shown.data[~same], maps[1][~same])
    assert where.get_title() == f"they differ on {1 - same.mean():.0%} of the points"
    assert first.get_title() == "w4 noise0 seed0"


@pytest.mark.parametrize(("plane_set", "plane", "allowed"), [("train", 5, "from 0 to 4"), ("other", 0, "test, train")])
def test_a_plane_that_is_not_there_is_refused(made_up, plane_set, plane, allowed):
    store, sweep, _ = made_up
    models = choose_model(sweep, "w4-adam-noise0-seed0"), choose_model(sweep, "w4-adam-noise0-seed1")
    assert refused(disagreement_of, store, sweep, models, plane_set, plane).allowed == allowed


def test_a_sweep_shows_its_least_and_its_most_reproducible_trainings(tmp_path):
    sweep = small_sweep(grid={"width": [2, 4, 8], "seed": [0, 1]})
    store, figure = drawn_one(tmp_path, sweep, "disagreement", error=lambda model, _: 1 / model.width)
    axes = figure.axes
    assert [row.get_ylabel().splitlines()[0] for row in axes[::3]] == ["width 2", "width 8"]
    models = [model for model in sweep.models() if model.width == 2]
    for shown, maps in zip(axes[:2], labels_of(store, "test", models), strict=True):
        assert np.array_equal(shown.images[0].get_array(), maps[0])


def test_the_most_contested_images_have_the_votes_of_all_trainings(tmp_path):
    sweep = small_sweep(grid={"width": [2, 4, 8], "seed": [0, 1, 2, 3]}, planes={"test": {"count": 3, "resolution": 4}})
    store, figure = drawn_one(tmp_path, sweep, "contested_images", error=lambda model, _: 1 / model.width)
    assert [axes.get_ylabel().splitlines()[0] for axes in figure.axes[::4]] == ["width 2", "width 4", "width 8"]
    assert "of the 9 test images" in caption_of(figure)
    for width, row in zip((2, 4, 8), np.array(figure.axes).reshape(3, 4), strict=True):
        tests = [predictions_of(store, m, "test") for m in sweep.models() if m.width == width]
        predicted = np.stack([test["predicted"] for test in tests])[:, :9]  # planes go through the first nine
        differing = sum((a != b).astype(int) for a, b in itertools.combinations(predicted, 2))
        ranked = [index for index in np.argsort(-differing, kind="stable") if differing[index]][:4]
        for axes, index in itertools.zip_longest(row, ranked):
            if index is None:
                assert not axes.axison
                continue
            first, votes = axes.get_xlabel().splitlines()
            assert first == f"image {index}: {'abcd'[tests[0]['true_label'].iloc[index]]}"
            assert dict(re.findall(r"(\w) \((\d)\)", votes)) == {
                "abcd"[of]: str(count) for of, count in Counter(predicted[:, index].tolist()).items()
            }
            assert axes.images[0].get_array().shape == (2, 2, 3)


def test_trainings_that_agree_have_no_contested_image(tmp_path):
    sweep = small_sweep(grid={"width": [4], "seed": [0, 1]})
    _, figure = drawn_one(tmp_path, sweep, "contested_images", error=lambda *_: 0.0)
    assert "no image on which trainings disagree" in figure.axes[0].texts[0].get_text()


def test_the_command_draws_a_pair(made_up, tmp_path, capsys):
    store, *_ = made_up
    models = ["w4-adam-noise0-seed0", "w4-adam-noise0-seed1"]
    out = tmp_path / "pair.pdf"
    assert main(["disagreement", store.root, *models, "--plane", "3", "--plane-set", "train", "--out", str(out)]) == 0
    assert out.read_bytes().startswith(b"%PDF")
    for wrong in (tmp_path / "pair.doc", tmp_path / "absent" / "pair.png"):
        assert main(["disagreement", store.root, *models, "--out", str(wrong)]) == 2
        assert capsys.readouterr().err.startswith(f"dbviz-ray disagreement: --out: '{wrong}' is not allowed")
