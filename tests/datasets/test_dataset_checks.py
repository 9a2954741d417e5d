import math

import pytest
import torch
from support import refusals, user_datasets
from support.dataset_files import refused

from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import sizes_of

SHADES = "support.user_datasets:shades"


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
        ({"pixel_range": 0.0}, "pixel_range 0.0"),
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
    for loader in ("support.user_datasets:not_a_dataset", "json:dumps"):
        assert refused("unused", name=loader).field == "dataset.name"
    assert refused("unused", name="json:nope").field == "json:nope"
    assert refused("unused", name=SHADES, train_size=20).field == "dataset.train_size"


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
    for mistake in (refused(tmp_path, **fields), refusals.refused(sizes_of, DatasetConfig(**fields))):
        assert (mistake.field, mistake.allowed) == (f"dataset.{field}", allowed)
