"""What a configuration draws from a data set: kept and held-out images, label noise; what is refused of loaders."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support import refusals, user_datasets
from support.dataset_files import WRITERS, loaded, refused, write_cifar10

from dbviz_ray.config import DatasetConfig
from dbviz_ray.config.seeds import train_set
from dbviz_ray.datasets import Dataset, given_labels, sizes_of
from dbviz_ray.datasets.public import CIFAR10_CLASSES

SHADES = "support.user_datasets:shades"


def noisy_labels(labels, classes, share, seed, confusions=None):
    images = torch.zeros(len(labels), 1, 1, 1, dtype=torch.uint8)
    names, kind = tuple(map(str, range(classes))), "asymmetric" if confusions else "symmetric"
    data = Dataset(images, labels, images, labels, names, (0.0,), (1.0,), confusions=confusions)
    return given_labels(data, kind, share, seed)


def rows(split):
    """Each image with its label."""
    images, labels = split
    return list(map(tuple, torch.cat([images.flatten(1).long(), labels[:, None]], dim=1).tolist()))


def test_the_draws_never_change(tmp_path, digits):
    assert digits.train_labels[:12].tolist() == [4, 8, 4, 2, 8, 2, 6, 6, 9, 2, 1, 7]
    write_cifar10(tmp_path)
    data = loaded(tmp_path, name="cifar10", train_size=12, test_size=12)
    assert data.train_labels.tolist() == [8, 5, 7, 9, 1, 1, 7, 1, 0, 7, 8, 2]
    assert data.test_labels.tolist() == [9, 0, 9, 9, 4, 8, 8, 4, 2, 1, 5, 7]
    noisy = noisy_labels(torch.arange(5).repeat(4), 5, 0.5, seed=7)
    assert noisy.tolist() == [0, 1, 4, 1, 4, 4, 0, 4, 3, 4, 4, 2, 2, 3, 3, 0, 1, 2, 4, 2]


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_the_split_seed_draws_the_images(tmp_path, name):
    write_cifar10(tmp_path)
    first, other = (loaded(tmp_path, name=name, train_size=50, split_seed=seed).train_images for seed in (0, 1))
    assert len(first) == 50
    assert not torch.equal(first, other)
    assert refused(tmp_path, name="cifar10", test_size=61).field == "dataset.test_size"


@pytest.mark.parametrize(
    ("name", "size"), [("digits", {}), ("digits", {"train_size": 100}), (SHADES, {}), ("cifar10", {})]
)
def test_held_out_images_are_kept_training_images_that_the_split_seed_draws(tmp_path, name, size):
    write_cifar10(tmp_path)
    fields = ({}, {"held_out": 15}, {"held_out": 15, "split_seed": 1})
    everything, data, other = (loaded(tmp_path, name=name, **size, **of) for of in fields)
    assert len(data.test_labels) == 15
    together = rows(data.split("train")) + rows(data.split("test"))
    assert sorted(together) == sorted(rows(everything.split("train")))
    assert not torch.equal(data.test_images, other.test_images)


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


def test_sizes_agree_with_what_is_loaded(tmp_path):
    assert sizes_of(DatasetConfig(name=SHADES)) is None
    assert sizes_of(DatasetConfig(name="image_folder", folder="anything")) is None
    for name in ("digits", *WRITERS):
        WRITERS.get(name, write_cifar10)(tmp_path / name)
        fields = {"name": name, "train_size": 20, "held_out": 5}
        data = loaded(tmp_path / name, **fields)
        told = data.image_shape, len(data.class_names), len(data.train_labels), len(data.test_labels)
        assert told == sizes_of(DatasetConfig(**fields))


@given(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), st.integers(0, 1000), st.integers(2, 10))
def test_label_noise_is_balanced_and_never_the_same_class(share, seed, classes):
    labels = torch.arange(classes).repeat(20)
    noisy = noisy_labels(labels, classes, share, seed)
    changed = noisy != labels
    for label in range(classes):
        assert changed[labels == label].sum() == round(share * 20)
    assert noisy.min() >= 0
    assert noisy.max() < classes
    assert torch.equal(labels, torch.arange(classes).repeat(20))


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.floats(0, 1),
    st.floats(0, 1),
    st.sampled_from([None, (1, 0, 2, 1)]),
    st.integers(0, 1000),
)
def test_false_labels_of_a_smaller_share_are_among_those_of_a_larger_one(classes, one, other, confusions, seed):
    labels = torch.tensor(classes)
    few, many = (noisy_labels(labels, 4, share, seed, confusions) for share in sorted((one, other)))
    false = few != labels
    assert torch.equal(few[false], many[false])


def test_label_noise_draws_other_classes_uniformly():
    noisy = noisy_labels(torch.zeros(30_000, dtype=torch.int64), 4, 1.0, seed=3)
    counts = torch.bincount(noisy, minlength=4)
    assert counts[0] == 0
    assert ((counts[1:] - 10_000).abs() < 5 * 82).all()  # five standard deviations of a binomial


@given(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), st.integers(0, 1000))
def test_asymmetric_noise_follows_the_confusions(share, seed):
    labels = torch.arange(4).repeat(20)
    noisy = noisy_labels(labels, 4, share, seed, confusions=(1, 0, 2, 1))
    for label, confused_with in ((0, 1), (1, 0), (2, 2), (3, 1)):
        given_to_class = noisy[labels == label]
        falsified = given_to_class != label
        assert falsified.sum() == (0 if confused_with == label else round(share * 20))
        assert (given_to_class[falsified] == confused_with).all()


def test_given_labels_depend_on_the_seed_alone(digits):
    for kind in ("symmetric", "asymmetric"):
        first, again, other = (given_labels(digits, kind, 0.5, seed) for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(given_labels(digits, "asymmetric", 1.0, 0), (digits.train_labels + 1) % 10), "no confusions"


def test_a_training_set_is_all_images_or_a_bootstrap_of_them():
    assert train_set(7, None).tolist() == list(range(7))
    first, again, other = (train_set(20_000, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.99
    times = np.bincount(np.bincount(first, minlength=20_000)) / 20_000  # Poisson, with mean 1
    assert times[:4].tolist() == pytest.approx([0.368, 0.368, 0.184, 0.061], abs=0.015)


def test_cifar10_confuses_as_in_patrini_et_al(tmp_path):
    write_cifar10(tmp_path)
    data = loaded(tmp_path, name="cifar10")
    noisy = given_labels(data, "asymmetric", 1.0, 0)
    changed = noisy != data.train_labels
    pairs = zip(data.train_labels[changed].tolist(), noisy[changed].tolist(), strict=True)
    assert {(CIFAR10_CLASSES[label], CIFAR10_CLASSES[false]) for label, false in pairs} == {
        ("truck", "automobile"), ("bird", "airplane"), ("deer", "horse"), ("cat", "dog"), ("dog", "cat"),
    }  # fmt: skip


def zeros(*shape, dtype=torch.uint8):
    return torch.zeros(*shape, dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train_images": zeros(40, 3, 4, 4, dtype=torch.float32)}, "torch.float32"),
        ({"test_images": [[1]]}, "list"),
        ({"train_images": zeros(40, 4, 4)}, "[40, 4, 4]"),
        ({"train_images": zeros(39, 3, 4, 4)}, "40 labels for 39 images"),
        ({"test_images": zeros(10, 3, 5, 4)}, "[3, 4, 4] and its test images [3, 5, 4]"),
        ({"test_images": zeros(1, 3, 4, 4), "test_labels": torch.zeros(1).long()}, "1 test images"),
        ({"train_labels": torch.arange(40)}, "train: label 4"),
        ({"test_labels": torch.arange(10) % 4 - 1}, "test: label -1"),
        ({"test_labels": (torch.arange(10) % 4).int()}, "torch.int32"),
        ({"class_names": tuple(map(str, range(2**16 + 1)))}, "65537 classes"),
        ({"class_names": None}, "TypeError"),
        ({"mean": (0.5,)}, "(0.5,)"),
        ({"deviation": (1.0, 0.0, 1.0)}, "(1.0, 0.0, 1.0)"),
        ({"mean": (0.0, math.nan, 1.0)}, "nan"),
        ({"confusions": (1, 2, 3)}, "(1, 2, 3)"),
        ({"confusions": (1, 2, 3, 4)}, "(1, 2, 3, 4)"),
    ],
)
def test_what_a_loader_returns_is_checked(monkeypatch, tmp_path, changes, told):
    monkeypatch.setattr(user_datasets, "changes", changes)
    mistake = refused(tmp_path, name=SHADES)
    assert (mistake.field, mistake.value) == ("dataset.name", SHADES)
    assert told in mistake.reason


def test_a_loader_must_return_a_dataset_of_the_size_asked_for():
    for loader in ("operator:eq", "json:dumps"):  # which returns something else, and which fails
        assert refused("unused", name=loader).field == "dataset.name"
    assert refused("unused", name="json:nope").field == "json:nope"
    assert refused("unused", name=SHADES, train_size=20).field == "dataset.train_size"


@pytest.mark.parametrize(
    ("fields", "field", "allowed"),
    [
        ({"held_out": 10, "test_size": 10}, "test_size", "unset"),
        ({"train_size": 50, "held_out": 50}, "held_out", "at most 48"),
        ({"train_size": 1800}, "train_size", ""),
        ({"folder": "here"}, "folder", "unset"),
        ({"name": "svhn", "image_size": 8}, "image_size", "unset"),
        ({"name": "image_folder"}, "folder", "a folder that holds train/CLASS/* and test/CLASS/*"),
    ],
)
def test_fields_that_do_not_fit_are_refused_with_and_without_loading(tmp_path, fields, field, allowed):
    for mistake in (refused(tmp_path, **fields), refusals.refused(sizes_of, DatasetConfig(**fields))):
        assert (mistake.field, mistake.allowed) == (f"dataset.{field}", allowed)
