"""Images and names that a command line gives."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from support.refusals import refused

from dbviz_ray.analysis.compare.images import find_images
from dbviz_ray.analysis.compare.models import short_names
from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.score import Request

OPTIONS = {"train_size": 200, "test_size": 100}
NOISE, LABELS = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8), np.arange(12) % 10


def dataset(test_size=100):
    return load_dataset(DatasetConfig(name="digits", train_size=200, test_size=test_size), "unused")


def loader(config, directory):
    return dataset()


def arrays():
    return dataset().normalised(dataset().test_images), dataset().test_labels


def nothing():
    return None


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def npz(path, **content):
    np.savez(path, **content)
    return path


def test_every_way_to_give_the_images_gives_the_same_ones(here, digits):
    pixels, labels = digits.test_images.numpy(), digits.test_labels.numpy()
    normalised = digits.normalised(digits.test_images)
    sixteen = {"deviation": (16 / 255,)}  # these digits have 16 grey levels, a .npz file's pixels are divided by 255
    ways = {
        "digits": {"data_options": OPTIONS},
        npz("channels.npz", images=pixels, labels=labels): sixteen,
        npz("none.npz", images=pixels[:, 0], labels=labels.astype(np.int32)): sixteen,
        npz("last.npz", images=np.moveaxis(pixels, 1, 3), labels=labels): sixteen,
        npz("floats.npz", images=normalised.double().numpy(), labels=labels): {},
        f"{__name__}:arrays": {},
        f"{__name__}:dataset": {"data_options": {"test_size": 100}},
        f"{__name__}:loader": {"data_options": OPTIONS, "split": "test"},
    }
    for name, options in ways.items():
        found = find_images(Request(data=name, **options), [])
        torch.testing.assert_close(found.images, normalised, msg=name)
        assert torch.equal(found.labels, digits.test_labels), name
        assert found.classes == 10
        assert found.class_names == (None if name.endswith(("npz", "arrays")) else digits.class_names)
    named = npz("named.npz", images=pixels, labels=labels, class_names=np.array(list("abcdefghijk")))
    found = find_images(Request(data=named), [])
    assert found.classes == 11
    hashed = hashlib.sha256((here / named).read_bytes()).hexdigest()
    assert found.facts == {"sha256": hashed, "mean": [0.0], "deviation": [1.0]}


def test_another_split_and_scale(digits):
    found = find_images(Request(data="digits", data_options=OPTIONS, split="train", mean=(0.5,), deviation=(0.25,)), [])
    torch.testing.assert_close(found.images, (digits.train_images / 16 - 0.5) / 0.25)
    assert found.facts == {"split": "train", "mean": [0.5], "deviation": [0.25]}


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"data": None}, "data"),
        ({"data": "digit"}, "data"),
        ({"data": f"{__name__}:absent"}, "data"),
        ({"data": f"{__name__}:nothing"}, f"{__name__}:nothing"),
        ({"data_options": {"sise": 3}}, "sise"),
        ({"mean": (1.0, 2.0)}, "mean"),
        ({"deviation": (0.0,)}, "deviation"),
        ({"data": f"{__name__}:arrays", "split": "train"}, "split"),
        ({"data": f"{__name__}:arrays", "mean": (0.0,)}, "mean"),
        ({"data": "flat.npz", "data_options": {"a": 1}}, "data_options"),
        ({"data": "absent.npz"}, "absent.npz"),
        ({"data": "objects.npz"}, "objects.npz"),
        ({"data": "unknown.npz"}, "unknown.npz"),
        ({"data": "one.npz"}, "one.npz: images"),
        ({"data": "flat.npz"}, "flat.npz: images"),
        ({"data": "infinite.npz"}, "infinite.npz: images"),
        ({"data": "integers.npz"}, "integers.npz: images"),
        ({"data": "negative.npz"}, "negative.npz: labels"),
        ({"data": "fewer.npz"}, "fewer.npz: labels"),
    ],
)
def test_images_that_cannot_be_used(asked, field):
    npz("objects.npz", images=np.array([object()] * 12), labels=LABELS)
    npz("unknown.npz", images=NOISE, classes=LABELS)
    npz("one.npz", images=NOISE[:1], labels=LABELS[:1])
    npz("flat.npz", images=NOISE.reshape(12, 64), labels=LABELS)
    npz("infinite.npz", images=np.full((12, 8, 8), np.inf), labels=LABELS)
    npz("integers.npz", images=NOISE.astype(int), labels=LABELS)
    npz("negative.npz", images=NOISE, labels=LABELS - 1)
    npz("fewer.npz", images=NOISE, labels=LABELS[:9])
    assert refused(find_images, Request(**{"data": "digits"} | asked), []).field == field


def test_names_are_as_short_as_they_can_be():
    assert short_names(["a/old.pt", "b/new.safetensors"]) == ["old", "new"]
    assert short_names(["run1/last.ckpt", "run2/last.ckpt"]) == ["run1/last", "run2/last"]
    assert short_names(["net-a-1.pt", "net-a-2.pt"]) == ["1", "2"]
    assert short_names(["x/a.pt", "x/a.pt"]) == ["a (1)", "a (2)"]
    assert short_names(["runs/s/models/w4-0.2-ab", "runs/s/models/w8-0.2-cd"]) == ["w4-0.2-ab", "w8-0.2-cd"]
