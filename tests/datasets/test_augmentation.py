import numpy as np
import pytest
import torch
from conftest import small_sweep
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms import v2

from dbviz_ray.config.seeds import numpy_generator
from dbviz_ray.datasets import Dataset, augmentation
from dbviz_ray.datasets.augmentation import AugmentedImages, Mixing, cut_boxes

CLASSES, SIZE = 10, (9, 6)
UNIT = st.floats(0, 1, exclude_max=True)


def epoch_of(data, kind):
    """Every batch of one epoch of two models."""
    models = small_sweep(
        grid={"width": [4], "seed": [0, 1]}, training={"batch_size": 64, "augmentation": kind}
    ).models()
    images = AugmentedImages(models, data, torch.device("cpu"), torch.float32)
    return [batch for _, batch in images.augmented(0, images.order(0))]


@pytest.mark.parametrize("kind", ["none", "crop_flip"])
@pytest.mark.parametrize("block_bytes", [1, 2 * 64 * 64 * 4 * 2])
def test_the_block_size_changes_nothing(kind, block_bytes, digits, monkeypatch):
    at_once = epoch_of(digits, kind)
    monkeypatch.setattr(augmentation, "BLOCK_BYTES", block_bytes)
    in_blocks = epoch_of(digits, kind)
    assert [batch.shape[1] for batch in in_blocks] == [64, 64, 64, 8]
    assert torch.equal(torch.cat(in_blocks, dim=1), torch.cat(at_once, dim=1))


@pytest.mark.parametrize(("kind", "alpha"), [("mixup", 0.3), ("mixup", 1.0), ("cutmix", 1.0)])
@pytest.mark.parametrize("step", range(4))
def test_mixing_is_torchvisions(step, kind, alpha, monkeypatch):
    """With the shares and centres of each member's stream in the place of torchvision's draws."""
    training = {"mixing": kind, "mixing_alpha": alpha}
    models = small_sweep(grid={"width": [4], "seed": [0, 1, 2]}, training=training).models()
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (3, 5), generator=generator)
    images = torch.rand(3, 5, 2, *SIZE, generator=generator)
    data = Dataset(images[0], labels[0], images[0], labels[0], tuple("0123456789"), (0.0, 0.0), (1.0, 1.0))
    mixed, probabilities = Mixing(models, 3, 4, data, torch.device("cpu"))(step, images, labels)
    theirs = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[kind](num_classes=CLASSES)
    for member, model in enumerate(models):
        draws = numpy_generator("mixing", model.seeds.augmentation, 3)
        shares, centres = draws.beta(alpha, alpha, 4), draws.random((4, 2))
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
