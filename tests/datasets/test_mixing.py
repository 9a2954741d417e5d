from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets.augmentation import Mixing, cut_boxes

CLASSES, SIZE = 10, (9, 6)


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


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("step", [0, 3])
def test_mixup_is_torchvisions(step, alpha):
    models = models_of("mixup", alpha)
    images, labels = batch()
    mixed, probabilities = mixing_of(models)(step, images, labels)
    theirs = v2.MixUp(num_classes=CLASSES)
    for member, model in enumerate(models):
        share = float(draws_of(model)[0][step])
        given_labels = labels[member]
        own = {"lam": share, "labels": given_labels, "batch_size": 5}
        torch.testing.assert_close(mixed[member], theirs.transform(images[member], own))
        torch.testing.assert_close(probabilities[member], theirs.transform(given_labels, own))


@pytest.mark.parametrize("step", range(4))
def test_cutmix_is_torchvisions(step, monkeypatch):
    models = models_of("cutmix")
    images, labels = batch()
    mixed, probabilities = mixing_of(models)(step, images, labels)
    theirs = v2.CutMix(num_classes=CLASSES)
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


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_a_member_is_mixed_the_same_whoever_is_beside_it(kind):
    models = models_of(kind)
    images, labels = batch()
    together = mixing_of(models)(1, images, labels)
    alone = mixing_of(models[2:])(1, images[2:], labels[2:])
    for all_members, one in zip(together, alone, strict=True):
        assert torch.equal(all_members[2:], one)


def test_every_epoch_and_seed_draws_its_own():
    models = models_of("mixup")
    images, labels = batch()
    first, later = (mixing_of(models, epoch=epoch)(0, images, labels)[1] for epoch in (0, 1))
    assert not torch.equal(first, later)
    assert not torch.equal(*(mixing_of([model])(0, images[:1], labels[:1])[1] for model in models[:2]))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_are_beta_distributed(alpha):
    steps, labels = 4000, torch.tensor([[0, 1]])
    mixing = mixing_of(models_of("mixup", alpha)[:1], steps)
    images = torch.zeros(1, 2, 1, *SIZE)
    shares = torch.stack([mixing(step, images, labels)[1][0, 0, 0] for step in range(steps)])
    variance = 1 / (4 * (2 * alpha + 1))
    assert shares.mean() == pytest.approx(0.5, abs=4 * (variance / steps) ** 0.5)
    assert shares.var() == pytest.approx(variance, rel=0.1)


UNIT = st.floats(0, 1, exclude_max=True)


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
