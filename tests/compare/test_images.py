"""Every kind of array, file and loader is taken as plain PyTorch takes it, or refused in one line."""

import gc
import hashlib
import warnings

import numpy as np
import pytest
import torch
from support import image_kinds
from support.image_kinds import GIVEN, IMAGES, LABELS, REFUSED, WITHOUT_LABELS
from support.refusals import refused
from torch.utils.data import DataLoader, TensorDataset

from dbviz_ray.analysis.compare.images import find_images, images_and_labels
from dbviz_ray.analysis.compare.models import SUFFIXES
from dbviz_ray.config import DatasetConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.formatting import names_of_paths
from dbviz_ray.score import Request
from dbviz_ray.training.allocations import peak_memory, reset_peak_memory

BYTES = image_kinds.PIXELS[None].repeat(12, 0)
OPTIONS = {"train_size": 200, "test_size": 100}


def found_in(data, **options):
    return find_images(Request(data=data, **options), [])


def here(name):
    return f"{__name__}:{name}"


LABEL_NAMES = [f"class {label}" for label in LABELS]
FUNCTIONS = {
    "byte_loader": lambda: DataLoader(TensorDataset(torch.from_numpy(BYTES), LABELS), 5),
    "alone": lambda: BYTES,
    "loud": lambda: (IMAGES.double() * 100, LABELS),
    "named": lambda: {"image": IMAGES, "label": LABEL_NAMES, "class_names": image_kinds.NAMES},
    "arrays": lambda: (dataset().normalised(dataset().test_images), dataset().test_labels),
    "nothing": lambda: None,
}
globals().update(FUNCTIONS)


@pytest.mark.parametrize("kind", GIVEN | WITHOUT_LABELS)
def test_images_and_labels_in_every_form(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, labels = images_and_labels(*(GIVEN | WITHOUT_LABELS)[kind]())
    assert torch.equal(images.float(), IMAGES)
    assert labels is None if kind in WITHOUT_LABELS else torch.equal(labels, LABELS)
    assert not images.requires_grad


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind):
    assert refused(images_and_labels, *REFUSED[kind]()).field in ("images", "labels")


def test_what_a_function_returns_and_what_is_assumed():
    pixels = torch.from_numpy(BYTES).permute(0, 3, 1, 2) / 255
    for name, labels in (("byte_loader", LABELS), ("alone", None)):
        found = found_in(here(name))
        torch.testing.assert_close(found.images, pixels)
        assert (found.labels is None) == (labels is None)
        assert found.classes == (None if labels is None else 10)
        assert len(found.remarks) == 1
    found = found_in(here("alone"), mean=(0.5,), deviation=(0.25,))
    torch.testing.assert_close(found.images, (pixels - 0.5) / 0.25)
    assert not found.remarks
    assert "200" in found_in(here("loud")).remarks[0]
    found = found_in(here("named"))
    assert torch.equal(found.labels, LABELS)
    assert (found.classes, found.remarks) == (10, ())


@pytest.mark.parametrize("shape", [(3, 8, 3), (3, 3, 3), (1, 9, 4), (5, 8, 8), (8, 8, 2)])
def test_axes_that_may_be_the_channels_are_not_guessed(shape, monkeypatch):
    monkeypatch.setitem(globals(), "shaped", lambda: torch.rand(4, *shape))
    assert refused(find_images, Request(data=here("shaped")), []).field == f"{__name__}:shaped: images"


def test_a_long_loader_takes_its_size_of_memory_once():
    batches, size = 40, torch.empty(100, 3, 112, 112).nbytes
    gc.collect()
    reset_peak_memory()
    before = peak_memory()["peak_memory_bytes"]
    images, _ = images_and_labels(torch.full((100, 3, 112, 112), float(place)) for place in range(batches))
    assert images[::100, 0, 0, 0].tolist() == list(range(batches))
    assert peak_memory()["peak_memory_bytes"] - before < 1.3 * batches * size


def dataset(test_size=100):
    return load_dataset(DatasetConfig(name="digits", train_size=200, test_size=test_size), "unused")


def loader(config, directory):
    return dataset()


def npz(path, **content):
    np.savez(path, **content)
    return path


def test_every_way_to_give_the_images_gives_the_same_ones(tmp_path, digits, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels, labels = digits.test_images.numpy(), digits.test_labels.numpy()
    normalised = digits.normalised(digits.test_images)
    sixteen = {"deviation": (16 / 255,)}  # these digits have 16 grey levels, a .npz file's pixels are divided by 255
    ways = {
        "digits": {"data_options": OPTIONS},
        npz("channels.npz", images=pixels, labels=labels): sixteen,
        npz("none.npz", images=pixels[:, 0], labels=labels.astype(np.int32)): sixteen,
        npz("last.npz", images=np.moveaxis(pixels, 1, 3), labels=labels): sixteen,
        npz("floats.npz", images=normalised.double().numpy(), labels=labels): {},
        here("arrays"): {},
        here("dataset"): {"data_options": {"test_size": 100}},
        here("loader"): {"data_options": OPTIONS, "split": "test"},
    }
    for name, options in ways.items():
        found = found_in(name, **options)
        torch.testing.assert_close(found.images, normalised, msg=name)
        assert torch.equal(found.labels, digits.test_labels), name
        assert found.classes == 10
        assert found.class_names == (None if name.endswith(("npz", "arrays")) else digits.class_names)
    named = npz("named.npz", images=pixels, labels=labels, class_names=np.array(list("abcdefghijk")))
    found = found_in(named)
    assert found.classes == 11
    hashed = hashlib.sha256((tmp_path / named).read_bytes()).hexdigest()
    assert found.facts == {"sha256": hashed, "mean": [0.0], "deviation": [1.0]}
    found = found_in("digits", data_options=OPTIONS, split="train", mean=(0.5,), deviation=(0.25,))
    torch.testing.assert_close(found.images, (digits.train_images / 16 - 0.5) / 0.25)
    assert found.facts == {"split": "train", "mean": [0.5], "deviation": [0.25]}


NOISE, TENS = np.random.default_rng(0).integers(0, 255, (12, 8, 8), dtype=np.uint8), np.arange(12) % 10
UNUSABLE = {
    "objects.npz": ("", {"images": np.array([object()] * 12)}),
    "unknown.npz": ("", {"pictures": NOISE}),
    "flat.npz": (": images", {"images": NOISE.reshape(12, 64)}),
    "integers.npz": (": images", {"images": NOISE.astype(int)}),
    "fewer.npz": (": labels", {"images": NOISE, "labels": TENS[:9]}),
}
"""What is wrong of the file, and its arrays beside the labels 0, 1, ... 9, 0, 1."""


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"data": None}, "data"),
        ({"data": "digit"}, "data"),
        ({"data": here("absent")}, "data"),
        ({"data": here("nothing")}, here("nothing")),
        ({"data_options": {"sise": 3}}, "sise"),
        ({"mean": (1.0, 2.0)}, "mean"),
        ({"deviation": (0.0,)}, "deviation"),
        ({"data": here("arrays"), "split": "train"}, "split"),
        ({"data": here("arrays"), "mean": (0.0,)}, "mean"),
        ({"data": "flat.npz", "data_options": {"a": 1}}, "data_options"),
        ({"data": "absent.npz"}, "absent.npz"),
        *(({"data": name}, f"{name}{where}") for name, (where, _) in UNUSABLE.items()),
    ],
)
def test_images_that_cannot_be_used(asked, field, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, (_, content) in UNUSABLE.items():
        npz(name, **{"labels": TENS} | content)
    assert refused(find_images, Request(**{"data": "digits"} | asked), []).field == field


def test_names_are_as_short_as_they_can_be():
    assert names_of_paths(["a/old.pt", "b/new.safetensors"], SUFFIXES) == ["old", "new"]
    assert names_of_paths(["run1/last.ckpt", "run2/last.ckpt"], SUFFIXES) == ["run1/last", "run2/last"]
    assert names_of_paths(["net-a-1.pt", "net-a-2.pt"], SUFFIXES) == ["1", "2"]
    assert names_of_paths(["x/a.pt", "x/a.pt"], SUFFIXES) == ["a (1)", "a (2)"]
    models = ["w4-0.2-ab", "w8-0.2-cd"]
    assert names_of_paths([f"runs/s/models/{model}" for model in models], SUFFIXES) == models
