"""Mistakes in a configuration: each names its field."""

import math

import pytest
from conftest import small_sweep
from support.refusals import refused

from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.sweep import main

NOISY = {"width": [4], "label_noise": [0.0, 0.1, 0.2], "seed": [0, 1], "label_noise_seed": [3]}
STREAMS = ("init", "order", "augmentation", "dropout", "label_noise")


def assert_names(mistake, field, told, *also):
    assert mistake.field == field
    assert told in " ".join(map(str, [mistake.reason, mistake.allowed, mistake.hint, *also]))


# The last column: names and numbers that the advice holds.
@pytest.mark.parametrize(
    ("override", "field", "told"),
    [
        ("training.epohs=3", "training.epohs", "did you mean epochs"),
        ("training.epochs=true", "training.epochs", "integer"),
        ("training=3", "training", "mapping"),
        ("training.epochs.x=1", "training.epochs.x", "epochs"),
        ("training.learning_rate=.nan", "training.learning_rate", "finite"),
        ("training.optimizer=lion", "training.optimizer", "'sgd', 'adam' or 'adamw'"),
        ("training.momentum=0.9", "training.momentum", "optimizer=sgd"),
        ("grid.width=[0]", "grid.width.0", "1"),
        ("grid.width=4", "grid.width", "list"),
        ("grid.width=[]", "grid.width", "1"),
        ("grid.width=[4,4]", "grid.width", "[4]"),
        ("grid.seed=[0]", "grid.seed", "scores=[fragmentation]"),
        ("grid.architecture=[resnet19]", "grid.architecture.0", "resnet18"),
        ("grid.architecture=[no_such.module:f]", "grid.architecture.0", "no_such.module"),
        ("grid.recipes={a: {lerning_rate: 1.0}}", "grid.recipes.a.lerning_rate", "learning_rate?"),
        ("grid.recipes={planes: {widht: 1.0}}", "grid.recipes.planes.widht", "batch_size"),
        ("grid.recipes={a: {}, b: {}}", "cases", "2 times"),
        ("cases=[{widht: [2]}]", "cases.0.widht", "width?"),
        ("cases=[{width: [2]}]", "cases.0.width", "grid.width"),
        ("training.snapshots=[400]", "training.snapshots", "400"),
        ("training.mixing_alpha=0.5", "training.mixing_alpha", "mixup or cutmix"),
        ("resources.execution=cuda_graph", "resources.execution", "gpus_per_cohort=0"),
        ("dataset.name=digit", "dataset.name", "digits?"),
        ("planes={}", "planes", "1"),
        ("planes.a/b.count=3", "planes.a/b", "A-Za-z0-9"),
        ("planes.adversary.cuont=3", "planes.adversary.cuont", "count?"),
        ("description=2026-02-30", "description", "YAML"),
        ("oops", "override", "key=value"),
        ("training.epochs=[", "training.epochs", "YAML"),
        ("name=../up", "name", "A-Za-z0-9"),
    ],
)
def test_a_mistake_names_the_field_and_what_is_allowed(override, field, told):
    assert_names(refused(load_sweep, "double_descent_digits", [override]), field, told)


@pytest.mark.parametrize("labels", ["mislabelled", "mixed"])
def test_labels_need_noise_that_falsifies_the_same_images_for_all(labels):
    planes = {"noisy": {"images": "train", "labels": labels}}
    assert small_sweep(grid=NOISY, planes=planes)
    for without, told in (({"label_noise": [0.0]}, ""), ({"label_noise_seed": None}, "0, 1")):
        correct = {"clean": {"images": "train", "labels": "correct"}}
        assert small_sweep(grid=NOISY | without, planes=correct)
        mistake = refused(small_sweep, grid=NOISY | without, planes=planes)
        assert mistake.value == labels
        assert_names(mistake, "planes.noisy.labels", told)
    clean_ones_may_differ = [NOISY | {"label_noise": [0.0], "label_noise_seed": [9]}, NOISY | {"label_noise": [0.2]}]
    assert small_sweep(grid={}, cases=clean_ones_may_differ, planes=planes)


@pytest.mark.parametrize(
    ("arguments", "field", "told"),
    [
        (["planes.test={indices: [[0, 1, 2], [3, 4, 797]]}"], "planes.test.indices", "796"),
        (["planes.noisy={images: train, labels: mislabelled, classes: same}", "grid.label_noise=[0.01]"],
         "planes.noisy", "class 0"),
        (["grid.label_noise=[0.98]"], "planes.one_class", "class 0"),
    ],
)  # fmt: skip
def test_what_the_data_cannot_give_is_said_before_any_work(arguments, field, told, capsys, here):
    assert main(["double_descent_digits", *arguments]) == 2
    message = capsys.readouterr().err
    assert f" {field}: " in message
    assert told in message
    assert list(here.iterdir()) == []


SAME_TRAININGS = {"width": [4], "seed": [0, 1]} | {f"{stream}_seed": [0] for stream in STREAMS}
TWO_OF_A_NAME = [{"recipes": {"a": {"epochs": epochs}}, "seed": [epochs, epochs + 1]} for epochs in (3, 5)]
TWO_TEACHERS = {"alone": {}, "a": {"distillation": {"recipe": "alone", "seed": 1}}}
STUDENTS_TEACH = {"a": {"distillation": {"recipe": "b"}}, "b": {"distillation": {"recipe": "a"}}}
PLANES = [
    ({"labels": "mixed"}, "labels", "images=train"),
    ({"off_manifold_images": 2}, "off_manifold_images", "off_manifold=none"),
    ({"adversary": {}}, "adversary", "off_manifold=adversarial"),
    ({"off_manifold": "adversarial", "attacked": "vit-1"}, "attacked", "fully_connected-w4"),
    ({"off_manifold": "adversarial", "adversary": {"radios": 1.0}}, "adversary.radios", "radius?"),
    ({"off_manifold": "adversarial", "images": "train", "labels": "mixed"}, "labels", "correct or mislabelled"),
    ({"off_manifold": "uniform_noise", "images": "train", "labels": "correct"}, "labels", "0 of the images"),
    ({"off_manifold": "uniform_noise", "classes": "same"}, "classes", "0 of the images"),
    ({"off_manifold": "adversarial", "indices": [[0, 1, 2], [3, 4, 5]]}, "indices", "1 of the images"),
    ({"indices": [[0, 1, 2]]}, "indices", "2"),
    ({"indices": [[0, 1, 1], [3, 4, 5]]}, "indices", "three"),
    ({"indices": [[0, 1, 2], [2, 0, 1]]}, "indices", "three"),
    ({"indices": [[0, 1, 2], [3, 4]]}, "indices.1.2", "missing"),
    ({"indices": [[0, 1, 2], [3, 4, -5]]}, "indices.1.2", "0"),
    ({"indices": [[0, 1, 2], [3, 4, 5]], "count": 7}, "count", "2 indices"),
    ({"probabilities": "yes"}, "probabilities", "true or false"),
]
MARGINS = {"split": "x", "images": 0, "steps": 2.5, "reach": 0, "scan": "odd", "tolerance": -math.inf, "direction": 3}


@pytest.mark.parametrize(
    ("fields", "field", "told"),
    [
        ({"grid": SAME_TRAININGS}, "grid.seed", "[0, 1]"),
        ({"grid": {"width": [4]}, "cases": TWO_OF_A_NAME}, "cases", "recipe a of fully_connected"),
        ({"grid": {"width": [4, 16], "recipes": TWO_TEACHERS}}, "grid.recipes.a.distillation", "2 models"),
        ({"grid": {"width": [4, 16], "recipes": STUDENTS_TEACH}}, "grid.recipes.a.distillation", "0 models"),
        *(({"planes": {"test": fields}}, f"planes.test.{field}", told) for fields, field, told in PLANES),
        *(({"margins": {field: value}}, f"margins.{field}", "") for field, value in MARGINS.items()),
        ({"margins": {"scan": "paper", "reach": 2.0}}, "margins.reach", "scan=even"),
    ],
)
def test_fields_that_exclude_each_other_or_teach_nobody_are_named(fields, field, told):
    mistake = refused(small_sweep, **fields)
    assert_names(mistake, field, told, *[mistake.value for _ in fields.keys() & {"grid"}])


def test_credentials_in_an_address_are_refused_and_not_repeated():
    mistake = refused(small_sweep, resources={"reuse": ["s3://KEY:hunter2@bucket/run"]})
    assert mistake.field == "resources.reuse"
    assert "AWS_PROFILE" in mistake.allowed
    assert "hunter2" not in str(mistake)
    assert "s3://bucket/run" in small_sweep(resources={"reuse": ["s3://bucket/run"]}).resources.reuse
