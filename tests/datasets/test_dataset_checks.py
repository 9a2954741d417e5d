from __future__ import annotations

import math

import pytest
import torch
from support import user_datasets
from support.dataset_files import write_cifar10, write_cifar100, write_fashion_mnist, write_svhn

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import load_dataset, sizes_of
from dbviz_ray.errors import UserError

SHADES = "support.user_datasets:shades"


def zeros(*shape, dtype=torch.uint8):
    return torch.zeros(*shape, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"train_images": zeros(40, 3, 4, 4, dtype=torch.float32)},
            r"train: images are torch.float32, not torch.uint8",
        ),
        ({"test_images": [[1]]}, r"test: images are list, not torch.Tensor"),
        (
            {"train_images": zeros(40, 4, 4)},
            r"train: images have shape \[40, 4, 4\], not \[n, channels, height, width\]",
        ),
        ({"train_images": zeros(39, 3, 4, 4)}, r"train: there are 40 labels for 39 images"),
        ({"test_images": zeros(10, 3, 5, 4)}, r"train images have shape \[3, 4, 4\] and its test images \[3, 5, 4\]"),
        ({"test_images": zeros(1, 3, 4, 4), "test_labels": torch.zeros(1).long()}, r"it has 1 test images; .* least 2"),
        ({"train_labels": torch.arange(40)}, r"train: label 4 is not a class; allowed: 0 to 3"),
        ({"test_labels": torch.arange(10) % 4 - 1}, r"test: label -1 is not a class; allowed: 0 to 3"),
        ({"test_labels": (torch.arange(10) % 4).int()}, r"test: labels are torch.int32, not torch.int64"),
        ({"class_names": tuple(map(str, range(257)))}, r"it has 257 classes; allowed: 2 to 256"),
        ({"class_names": None}, r"TypeError"),
        ({"mean": (0.5,)}, r"its mean is \(0.5,\); allowed: one number for each of 3 channels"),
        ({"deviation": (1.0, 0.0, 1.0)}, r"its deviation \(1.0, 0.0, 1.0\).*allowed: finite numbers"),
        ({"mean": (0.0, math.nan, 1.0)}, r"allowed: finite numbers"),
        ({"confusions": (1, 2, 3)}, r"its confusions are \(1, 2, 3\); allowed: one of 0 to 3 for each class"),
        ({"confusions": (1, 2, 3, 4)}, r"its confusions are \(1, 2, 3, 4\)"),
    ],
)
def test_what_a_loader_returns_is_checked(monkeypatch, tmp_path, changes, message):
    monkeypatch.setattr(user_datasets, "changes", changes)
    with pytest.raises(UserError, match=message) as error:
        load_dataset(DatasetConfig(name=SHADES), str(tmp_path))
    assert (error.value.mistakes[0].field, error.value.mistakes[0].value) == ("dataset.name", SHADES)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": "support.user_datasets:not_a_dataset"}, "dataset.name"),
        ({"name": SHADES, "train_size": 20}, "dataset.train_size"),
    ],
)
def test_a_loader_must_return_a_dataset_of_the_size_asked_for(fields, field):
    with pytest.raises(UserError) as error:
        load_dataset(DatasetConfig(**fields), "unused")
    assert error.value.mistakes[0].field == field


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"held_out": 10, "test_size": 10}, "test_size", "unset"),
        ({"held_out": 999}, "held_out", "at most 998"),
        ({"train_size": 50, "held_out": 50}, "held_out", "at most 48"),
        ({"train_size": 1800}, "train_size", ""),
        ({"folder": "here"}, "folder", "unset"),
        ({"name": "svhn", "image_size": 8}, "image_size", "unset"),
        ({"name": "image_folder"}, "folder", "a folder that holds train/CLASS/* and test/CLASS/*"),
    ],
)
def test_fields_that_do_not_fit_are_refused_with_and_without_loading(tmp_path, fields, field, allowed):
    config = DatasetConfig(**fields)
    for attempt in (sizes_of, lambda config: load_dataset(config, str(tmp_path))):
        with pytest.raises(UserError) as error:
            attempt(config)
        assert (error.value.mistakes[0].field, error.value.mistakes[0].allowed) == (f"dataset.{field}", allowed)


@pytest.mark.parametrize("name", ["digits", SHADES, "cifar10"])
def test_held_out_images_replace_the_test_images(tmp_path, name):
    write_cifar10(tmp_path)
    everything = load_dataset(DatasetConfig(name=name), str(tmp_path))
    data = load_dataset(DatasetConfig(name=name, held_out=15), str(tmp_path))
    total = len(everything.train_labels)
    assert (len(data.train_labels), len(data.test_labels)) == (total - 15, 15)

    def sorted_rows(images, labels):
        return sorted(map(tuple, torch.cat([images.flatten(1).long(), labels[:, None]], dim=1).tolist()))

    together = sorted_rows(
        torch.cat([data.train_images, data.test_images]), torch.cat([data.train_labels, data.test_labels])
    )
    assert together == sorted_rows(everything.train_images, everything.train_labels)


def test_the_split_seed_draws_held_out_images_from_the_kept_training_images():
    def images(**fields):
        return load_dataset(DatasetConfig(name="digits", train_size=100, **fields), "unused")

    kept = {tuple(image) for image in images().train_images.flatten(1).tolist()}
    first = images(held_out=30)
    assert (len(first.train_labels), len(first.test_labels)) == (70, 30)
    assert {tuple(image) for image in first.test_images.flatten(1).tolist()} <= kept
    assert not torch.equal(first.test_images, images(held_out=30, split_seed=1).test_images)


@pytest.mark.parametrize(
    ("name", "shape", "classes", "train", "test"),
    [
        ("digits", (1, 8, 8), 10, 1000, 797),
        ("cifar10", (3, 32, 32), 10, 50_000, 10_000),
        ("cifar100", (3, 32, 32), 100, 50_000, 10_000),
        ("svhn", (3, 32, 32), 10, 73_257, 26_032),
        ("fashion_mnist", (1, 28, 28), 10, 60_000, 10_000),
    ],
)
def test_sizes_are_known_without_files(name, shape, classes, train, test):
    assert sizes_of(DatasetConfig(name=name)) == (shape, classes, train, test)
    assert sizes_of(DatasetConfig(name=name, train_size=90, test_size=70)) == (shape, classes, 90, 70)
    assert sizes_of(DatasetConfig(name=name, held_out=100)) == (shape, classes, train - 100, 100)
    with pytest.raises(UserError) as error:
        sizes_of(DatasetConfig(name=name, train_size=80_000))
    assert error.value.mistakes[0].field == "dataset.train_size"


def test_sizes_agree_with_what_is_loaded(tmp_path):
    assert sizes_of(DatasetConfig(name=SHADES)) is None
    assert sizes_of(DatasetConfig(name="image_folder", folder="anything")) is None
    for write in (write_cifar10, write_cifar100, write_svhn, write_fashion_mnist):
        write(tmp_path)
    for name in ("digits", "cifar10", "cifar100", "svhn", "fashion_mnist"):
        config = DatasetConfig(name=name, train_size=20, held_out=5)
        data = load_dataset(config, str(tmp_path))
        told = data.image_shape, len(data.class_names), len(data.train_labels), len(data.test_labels)
        assert told == sizes_of(config)
