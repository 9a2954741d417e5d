from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.dataset_files import write_cifar10

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import given_labels, load_dataset, noisy_labels
from dbviz_ray.datasets.cifar import CLASS_NAMES


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


def test_label_noise_draws_other_classes_uniformly():
    noisy = noisy_labels(torch.zeros(30_000, dtype=torch.int64), 4, 1.0, seed=3)
    counts = torch.bincount(noisy, minlength=4)
    assert counts[0] == 0
    assert ((counts[1:] - 10_000).abs() < 5 * 82).all()  # five standard deviations of a binomial


def test_symmetric_draws_never_change():
    noisy = noisy_labels(torch.arange(5).repeat(4), 5, 0.5, seed=7)
    assert noisy.tolist() == [0, 1, 4, 0, 2, 4, 4, 2, 3, 4, 4, 0, 0, 4, 4, 0, 1, 2, 3, 0]


@given(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]), st.integers(0, 1000))
def test_asymmetric_noise_follows_the_confusions(share, seed):
    labels = torch.arange(4).repeat(20)
    noisy = noisy_labels(labels, 4, share, seed, confusions=(1, 0, 2, 1))
    for label, confused_with in ((0, 1), (1, 0), (2, 2), (3, 1)):
        given_to_class = noisy[labels == label]
        falsified = given_to_class != label
        assert falsified.sum() == (0 if confused_with == label else round(share * 20))
        assert (given_to_class[falsified] == confused_with).all()


@pytest.mark.parametrize("kind", ["symmetric", "asymmetric"])
def test_the_seed_alone_decides_the_draw(digits, kind):
    first, again, other = (given_labels(digits, kind, 0.5, seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_given_labels_without_confusions(digits):
    assert torch.equal(given_labels(digits, "symmetric", 0.2, 5), noisy_labels(digits.train_labels, 10, 0.2, 5))
    assert torch.equal(given_labels(digits, "asymmetric", 1.0, 0), (digits.train_labels + 1) % 10)


def test_cifar10_confuses_as_in_patrini_et_al(tmp_path):
    write_cifar10(tmp_path)
    data = load_dataset(DatasetConfig(name="cifar10"), str(tmp_path))
    noisy = given_labels(data, "asymmetric", 1.0, 0).tolist()
    seen = {(CLASS_NAMES[a], CLASS_NAMES[b]) for a, b in zip(data.train_labels.tolist(), noisy, strict=True) if a != b}
    assert seen == {
        ("truck", "automobile"), ("bird", "airplane"), ("deer", "horse"), ("cat", "dog"), ("dog", "cat"),
    }  # fmt: skip
