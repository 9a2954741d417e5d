"""Plane sets that are refused at the door."""

from __future__ import annotations

import pytest
from conftest import small_sweep

from dbviz_ray.config import PlaneSetConfig, SweepConfig, common_noise
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import UserError
from dbviz_ray.sweep import main

NOISY = {"width": [4], "label_noise": [0.0, 0.1, 0.2], "seed": [0, 1], "label_noise_seed": [3]}


@pytest.mark.parametrize(
    ("fields", "field", "advice"),
    [
        ({"labels": "mixed"}, "labels", "any, or images=train"),
        ({"off_manifold_images": 2}, "off_manifold_images", "off_manifold=none"),
        ({"off_manifold": "adversarial", "off_manifold_images": 2}, "off_manifold_images", "off_manifold=adversarial"),
        ({"off_manifold": "shuffled", "off_manifold_images": 1}, "off_manifold_images", "2 or 3"),
        ({"adversary": {}}, "adversary", "off_manifold=adversarial"),
        ({"off_manifold": "shuffled", "attacked": "x"}, "attacked", "off_manifold=adversarial"),
        ({"off_manifold": "adversarial", "adversary": {"radios": 1.0}}, "adversary.radios", "did you mean radius"),
        ({"off_manifold": "adversarial", "images": "train", "labels": "mixed"}, "labels", "correct or mislabelled"),
        ({"off_manifold": "uniform_noise", "images": "train", "labels": "correct"}, "labels", "0 of the images"),
        ({"off_manifold": "uniform_noise", "classes": "same"}, "classes", "0 of the images"),
        ({"off_manifold": "adversarial", "indices": [[0, 1, 2], [3, 4, 5]]}, "indices", "unset"),
        ({"indices": [[0, 1, 2]]}, "indices", "at least 2 values"),
        ({"indices": [[0, 1, 1], [3, 4, 5]]}, "indices", "three different images"),
        ({"indices": [[0, 1, 2], [2, 0, 1]]}, "indices", "every three images once"),
        ({"indices": [[0, 1, 2], [3, 4]]}, "indices.1.2", "missing"),
        ({"indices": [[0, 1, 2], [3, 4, -5]]}, "indices.1.2", "at least 0"),
        ({"indices": [[0, 1, 2], [3, 4, 5]], "count": 7}, "count", "unset, or 2"),
        ({"indices": [[0, 1, 2], [3, 4, 5]], "classes": "different"}, "classes", "unset, or any"),
        ({"classes": "equal"}, "classes", "'different', 'any' or 'same'"),
        ({"probabilities": "yes"}, "probabilities", "true or false"),
    ],
)
def test_fields_that_exclude_each_other_are_named(fields, field, advice):
    with pytest.raises(UserError) as caught:
        small_sweep(planes={"test": fields})
    (mistake,) = caught.value.mistakes
    assert mistake.field == f"planes.test.{field}"
    assert advice in str(mistake)


@pytest.mark.parametrize("labels", ["correct", "mislabelled", "mixed"])
def test_labels_need_noise_that_falsifies_the_same_images_for_all(labels):
    planes = {"noisy": {"images": "train", "labels": labels}}
    assert common_noise(small_sweep(grid=NOISY, planes=planes).models()) == (0.2, 3)
    with pytest.raises(UserError, match=r"^planes.noisy.labels: .* without label noise"):
        small_sweep(grid=NOISY | {"label_noise": [0.0]}, planes=planes)
    seeds = NOISY | {"label_noise_seed": None}
    with pytest.raises(UserError, match=r"planes.noisy.labels: .* label_noise_seed is 0, 1; .* one seed"):
        small_sweep(grid=seeds, planes=planes)
    clean_ones_may_differ = [NOISY | {"label_noise": [0.0], "label_noise_seed": [9]}, NOISY | {"label_noise": [0.2]}]
    assert small_sweep(grid={}, cases=clean_ones_may_differ, planes=planes)


def test_an_attacked_model_is_one_of_the_sweep():
    planes = {"a": {"off_manifold": "adversarial", "attacked": "vit-1"}}
    with pytest.raises(UserError, match=r"^planes.a.attacked: .* such as fully_connected-w4"):
        small_sweep(planes=planes)


def test_resolved_plane_sets_are_themselves():
    planes = {"given": {"indices": [[0, 1, 2], [3, 4, 5]]}, "attack": {"off_manifold": "adversarial", "adversary": {}}}
    sweep = small_sweep(planes=planes)
    assert validated(SweepConfig, sweep.model_dump(mode="json")) == sweep


def test_plane_sets_of_before_have_only_new_defaults():
    assert PlaneSetConfig().model_dump() == {
        "images": "test", "classes": "different", "labels": "any", "off_manifold": "none", "off_manifold_images": 3,
        "adversary": None, "attacked": None, "indices": None, "count": 500, "resolution": 50, "margin": 0.1, "seed": 0,
        "probabilities": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["planes.test={indices: [[0, 1, 2], [3, 4, 797]]}"],
            "planes.test.indices: [3, 4, 797] is not allowed with 797 test images; allowed: 0 to 796",
        ),
        (
            ["planes.noisy={images: train, labels: mislabelled, classes: same}", "grid.label_noise=[0.01]"],
            "planes.noisy: classes=same, labels=mislabelled needs 3 such train images of class 0, there are 1",
        ),
    ],
)
def test_what_the_data_cannot_give_is_said_before_any_work(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["double_descent_digits", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_may_ask_for_every_kind():
    planes = {
        "mixed": {"images": "train", "labels": "mixed"},
        "one_class": {"classes": "same"},
        "far": {"off_manifold": "uniform_noise", "off_manifold_images": 2},
        "attack": {"off_manifold": "adversarial", "adversary": {"radius": 2.0}},
        "attack_another": {"off_manifold": "adversarial", "attacked": small_sweep(grid=NOISY).models()[-1].model_id},
    }
    assert set(small_sweep(grid=NOISY, planes=planes).planes) == set(planes)
