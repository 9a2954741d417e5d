"""Plane sets that are refused at the door."""

from __future__ import annotations

import pytest
from conftest import small_sweep

from dbviz_ray.config import PlaneSetConfig, SweepConfig, telling_noise
from dbviz_ray.config.validation import validated
from dbviz_ray.errors import UserError
from dbviz_ray.sweep import main

NOISY = {"width": [4], "label_noise": [0.0, 0.1, 0.2], "seed": [0, 1], "label_noise_seed": [3]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"labels": "mixed"}, "labels: mixed is not allowed with images=test, .* allowed: any, or images=train"),
        ({"off_manifold_images": 2}, "off_manifold_images: 2 is not allowed with off_manifold=none; allowed: unset"),
        (
            {"off_manifold": "adversarial", "off_manifold_images": 2},
            "off_manifold_images: 2 is not allowed with off_manifold=adversarial",
        ),
        (
            {"off_manifold": "shuffled", "off_manifold_images": 1},
            "off_manifold_images: 1 is not allowed; allowed: 2 or 3",
        ),
        ({"adversary": {}}, "adversary: .* is not allowed with off_manifold=none; allowed: unset, or off_manifold"),
        (
            {"off_manifold": "shuffled", "attacked": "x"},
            "attacked: x is not allowed with off_manifold=shuffled; allowed: unset, or off_manifold=adversarial",
        ),
        (
            {"off_manifold": "adversarial", "adversary": {"radios": 1.0}},
            "adversary.radios: unknown key; did you mean radius",
        ),
        (
            {"off_manifold": "adversarial", "images": "train", "labels": "mixed"},
            "labels: mixed is not allowed with .* depends on 1 of the images; allowed: any, correct or mislabelled",
        ),
        (
            {"off_manifold": "uniform_noise", "images": "train", "labels": "correct"},
            "labels: correct is not allowed with .* depends on 0 of the images; allowed: any",
        ),
        ({"off_manifold": "uniform_noise", "classes": "same"}, "classes: same is not allowed with .* 0 of the images"),
        ({"off_manifold": "adversarial", "indices": [[0, 1, 2], [3, 4, 5]]}, "indices: .* is not allowed .* unset"),
        ({"indices": [[0, 1, 2]]}, "indices: .* allowed: at least 2 values"),
        ({"indices": []}, "indices: .* allowed: at least 2 values"),
        ({"indices": [[0, 1, 1], [3, 4, 5]]}, r"indices: .* three different images, not \[0, 1, 1\]"),
        ({"indices": [[0, 1, 2], [2, 0, 1]]}, "indices: .* every three images once"),
        ({"indices": [[0, 1, 2], [3, 4]]}, "indices.1.2: missing"),
        ({"indices": [[0, 1, 2], [3, 4, -5]]}, "indices.1.2: -5 is not allowed; allowed: at least 0"),
        (
            {"indices": [[0, 1, 2], [3, 4, 5]], "count": 7},
            "count: 7 is not allowed with 2 indices; allowed: unset, or 2",
        ),
        (
            {"indices": [[0, 1, 2], [3, 4, 5]], "classes": "different"},
            "classes: different is not allowed with 2 indices; allowed: unset, or any",
        ),
        ({"classes": "equal"}, "classes: 'equal' is not allowed; allowed: 'different', 'any' or 'same'"),
        ({"probabilities": "yes"}, "probabilities: 'yes' is not allowed; allowed: a valid boolean"),
    ],
)
def test_fields_that_do_not_go_together_are_named(fields, message):
    with pytest.raises(UserError, match=f"^planes.test.{message}") as caught:
        small_sweep(planes={"test": fields})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("labels", ["correct", "mislabelled", "mixed"])
def test_labels_need_noise_that_falsifies_the_same_images_for_all(labels):
    planes = {"noisy": {"images": "train", "labels": labels}}
    assert telling_noise(small_sweep(grid=NOISY, planes=planes).models()) == (0.2, 3)
    with pytest.raises(UserError, match=r"^planes.noisy.labels: \w+ is not allowed in a sweep without label noise"):
        small_sweep(grid=NOISY | {"label_noise": [0.0]}, planes=planes)
    seeds = NOISY | {"label_noise_seed": None}
    with pytest.raises(UserError, match=r"planes.noisy.labels: .* label_noise_seed is 0, 1, .* one seed"):
        small_sweep(grid=seeds, planes=planes)
    clean_ones_may_differ = [NOISY | {"label_noise": [0.0], "label_noise_seed": [9]}, NOISY | {"label_noise": [0.2]}]
    assert small_sweep(grid={}, cases=clean_ones_may_differ, planes=planes)


def test_an_attacked_model_is_one_of_the_sweep():
    planes = {"a": {"off_manifold": "adversarial", "attacked": "vit-1"}}
    with pytest.raises(UserError, match=r"^planes.a.attacked: vit-1 is not allowed; .* such as fully_connected-w4"):
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
            "planes.test: indices: [3, 4, 797] is not allowed with 797 test images; allowed: 0 to 796",
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
