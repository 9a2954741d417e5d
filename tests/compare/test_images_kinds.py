"""Every kind of array and loader is taken as plain PyTorch takes it, or refused in one line."""

from __future__ import annotations

import gc
import warnings

import pytest
import torch
from support import image_kinds
from support.image_kinds import GIVEN, IMAGES, LABELS, REFUSED, WITHOUT_LABELS
from support.refusals import refused
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from dbviz_ray import compare
from dbviz_ray.analysis.compare.images import find_images, images_and_labels
from dbviz_ray.score import Request
from dbviz_ray.training.allocations import peak_memory, reset_peak_memory

BYTES = image_kinds.PIXELS[None].repeat(12, 0)


def byte_loader():
    return DataLoader(TensorDataset(torch.from_numpy(BYTES), LABELS), 5)


def alone():
    return BYTES


def loud():
    return (IMAGES.double() * 100, LABELS)


def named():
    return {"image": IMAGES, "label": [f"class {label}" for label in LABELS], "class_names": image_kinds.NAMES}


@pytest.mark.parametrize("kind", GIVEN)
def test_images_and_labels_in_every_form(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images, labels = images_and_labels(*GIVEN[kind]())
    assert torch.equal(images.float(), IMAGES)
    assert torch.equal(labels, LABELS)
    assert not images.requires_grad


@pytest.mark.parametrize("kind", WITHOUT_LABELS)
def test_images_without_labels(kind):
    images, labels = images_and_labels(WITHOUT_LABELS[kind]())
    assert torch.equal(images, IMAGES)
    assert labels is None


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused(kind):
    assert refused(images_and_labels, *REFUSED[kind]()).field in ("images", "labels")


def test_a_loader_compares_as_its_arrays_do():
    torch.manual_seed(0)
    networks = [nn.Sequential(nn.Flatten(), nn.Linear(192, 10)) for _ in range(2)]
    whole = compare(networks, IMAGES, LABELS, planes=3, resolution=5)
    loaded = compare(networks, DataLoader(TensorDataset(IMAGES, LABELS), 5), planes=3, resolution=5)
    assert loaded.reproducibility == whole.reproducibility
    assert [model.error for model in loaded.models] == [model.error for model in whole.models]


def test_what_a_function_returns_and_what_is_assumed():
    pixels = torch.from_numpy(BYTES).permute(0, 3, 1, 2) / 255
    for name, labels in (("byte_loader", LABELS), ("alone", None)):
        found = find_images(Request(data=f"{__name__}:{name}"), [])
        torch.testing.assert_close(found.images, pixels)
        assert (found.labels is None) == (labels is None)
        assert found.classes == (None if labels is None else 10)
        assert len(found.remarks) == 1
    found = find_images(Request(data=f"{__name__}:alone", mean=(0.5,), deviation=(0.25,)), [])
    torch.testing.assert_close(found.images, (pixels - 0.5) / 0.25)
    assert not found.remarks
    assert "200" in find_images(Request(data=f"{__name__}:loud"), []).remarks[0]
    found = find_images(Request(data=f"{__name__}:named"), [])
    assert torch.equal(found.labels, LABELS)
    assert (found.classes, found.remarks) == (10, ())


@pytest.mark.parametrize("shape", [(3, 8, 3), (3, 3, 3), (1, 9, 4), (5, 8, 8), (8, 8, 2)])
def test_axes_that_may_be_the_channels_are_not_guessed(shape, monkeypatch):
    monkeypatch.setitem(globals(), "shaped", lambda: torch.rand(4, *shape))
    assert refused(find_images, Request(data=f"{__name__}:shaped"), []).field == f"{__name__}:shaped: images"


def test_a_long_loader_takes_its_size_of_memory_once():
    batches, size = 40, torch.empty(100, 3, 112, 112).nbytes
    gc.collect()
    reset_peak_memory()
    before = peak_memory()["peak_memory_bytes"]
    images, _ = images_and_labels(torch.full((100, 3, 112, 112), float(place)) for place in range(batches))
    assert images[::100, 0, 0, 0].tolist() == list(range(batches))
    assert peak_memory()["peak_memory_bytes"] - before < 1.3 * batches * size
