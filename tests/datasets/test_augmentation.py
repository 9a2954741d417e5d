import numpy as np
import pytest
import torch
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets import augmentation
from dbviz_ray.datasets.augmentation import AugmentedImages, Mixing, cut_boxes

CLASSES, SIZE = 10, (9, 6)
UNIT = st.floats(0, 1, exclude_max=True)


def images_of(data, members=2, **training):
    sweep = small_sweep(grid={"width": [4], "seed": list(range(members))}, training={"batch_size": 64} | training)
    models = sweep.models()
    return models, AugmentedImages(models, data, torch.device("cpu"), torch.float32)


def epoch_of(images, epoch=0):
    return torch.cat([batch for _, batch in images.epoch(epoch, images.order(epoch))], dim=1)


@pytest.mark.parametrize("kind", ["none", "crop_flip"])
@pytest.mark.parametrize("block_bytes", [1, 2 * 64 * 64 * 4 * 2])
def test_the_block_size_changes_nothing(kind, block_bytes, digits, monkeypatch):
    _, images = images_of(digits, augmentation=kind)
    at_once = epoch_of(images)
    monkeypatch.setattr(augmentation, "BLOCK_BYTES", block_bytes)
    _, in_blocks = images_of(digits, augmentation=kind)
    order = in_blocks.order(0)
    assert [place.stop - place.start for place, _ in in_blocks.epoch(0, order)] == [64, 64, 64, 8]
    assert torch.equal(epoch_of(in_blocks), at_once)


def models_of(kind, alpha=1.0):
    training = {"mixing": kind, "mixing_alpha": alpha}
    return small_sweep(grid={"width": [4], "seed": [0, 1, 2]}, training=training).models()


def mixing_of(models, steps=4, epoch=3):
    return Mixing(models, epoch, steps, SIZE, CLASSES, torch.device("cpu"))


def draws_of(model, steps=4, epoch=3):
    """One member's shares and centres, from the address of its stream."""
    generator = numpy_generator("mixing", model.seeds.augmentation, epoch)
    alpha = model.training.mixing_alpha
    return generator.beta(alpha, alpha, steps), generator.random((steps, 2))


def batch(members=3, images=5):
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (members, images), generator=generator)
    return torch.rand(members, images, 2, *SIZE, generator=generator), labels


@pytest.mark.parametrize(("kind", "alpha"), [("mixup", 0.3), ("mixup", 1.0), ("cutmix", 1.0)])
@pytest.mark.parametrize("step", range(4))
def test_mixing_is_torchvisions(step, kind, alpha, monkeypatch):
    models = models_of(kind, alpha)
    images, labels = batch()
    mixed, probabilities = mixing_of(models)(step, images, labels)
    theirs = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[kind](num_classes=CLASSES)
    for member, model in enumerate(models):
        shares, centres = draws_of(model)
        y, x = (int(centre * side) for centre, side in zip(centres[step], SIZE, strict=True))
        drawn = iter([torch.tensor([x]), torch.tensor([y])])  # torchvision draws the column first
        monkeypatch.setattr(theirs._dist, "sample", lambda _, share=shares[step]: torch.tensor(share))
        monkeypatch.setattr(torch, "randint", lambda *_, drawn=drawn, **__: next(drawn))
        given_labels = labels[member]
        own = theirs.make_params([images[member]]) | {"labels": given_labels, "batch_size": 5}
        torch.testing.assert_close(mixed[member], theirs.transform(images[member], own))
        torch.testing.assert_close(probabilities[member], theirs.transform(given_labels, own))


@given(UNIT, UNIT, UNIT, st.integers(1, 40), st.integers(1, 40))
def test_the_share_is_the_area_outside_a_box_within_the_image(share, y, x, height, width):
    boxes, shares = cut_boxes(np.array([share]), np.array([[y, x]]), (height, width))
    top, left, bottom, right = boxes[0]
    assert 0 <= top <= bottom <= height
    assert 0 <= left <= right <= width
    outside = np.ones((height, width))
    outside[top:bottom, left:right] = 0
    assert shares[0] == pytest.approx(outside.mean())
    assert shares[0] >= share - 1e-12  # at the edges, a box is cut off


def test_a_box_in_the_middle_by_hand():
    boxes, shares = cut_boxes(np.array([0.75]), np.array([[0.5, 0.5]]), (32, 16))
    assert boxes.tolist() == [[8, 4, 24, 12]]
    assert shares.tolist() == [0.75]
