from __future__ import annotations

import pytest
import torch
from conftest import small_sweep
from support.dataset_files import write_cifar10

from dbviz_ray.config.seeds import torch_generator
from dbviz_ray.datasets import augmentation, load_dataset
from dbviz_ray.datasets.augmentation import PADDING, AugmentedImages


def images_of(data, members=2, **training):
    sweep = small_sweep(grid={"width": [4], "seed": list(range(members))}, training={"batch_size": 64} | training)
    models = sweep.models()
    return models, AugmentedImages(models, data, torch.device("cpu"), torch.float32)


def epoch_of(images, epoch=0):
    return torch.cat([batch for _, batch in images.epoch(epoch, images.order(epoch))], dim=1)


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own(digits):
    _, images = images_of(digits)
    order = images.order(0)
    assert torch.equal(order.sort().values, torch.arange(200).expand(2, 200))
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order, images.order(1))
    pieces = list(images.epoch(0, order))
    assert [place.stop - place.start for place, _ in pieces] == [64, 64, 64, 8]
    for place, batch in pieces:
        assert torch.equal(batch, digits.normalised(digits.train_images[order[:, place]]))


def test_crops_and_flips_equal_a_naive_loop(tmp_path):
    write_cifar10(tmp_path)
    data = load_dataset(small_sweep(dataset={"name": "cifar10"}).dataset, str(tmp_path))
    models, images = images_of(data, augmentation="crop_flip", batch_size=70)
    order, made = images.order(4), epoch_of(images, 4)
    padded = torch.nn.functional.pad(data.train_images, (PADDING,) * 4)
    for member, model in enumerate(models):
        draws = torch.rand(300, 3, generator=torch_generator("cpu", "augmentation", model.seeds.augmentation, 4))
        for place in range(0, 300, 17):
            top, left, flip = (int(d * n) for d, n in zip(draws[place], (9, 9, 2), strict=True))
            crop = padded[order[member, place], :, top : top + 32, left : left + 32]
            crop = crop.flip(-1) if flip else crop
            assert torch.equal(made[member, place], data.normalised(crop))


@pytest.mark.parametrize("kind", ["none", "crop_flip"])
@pytest.mark.parametrize("block_bytes", [1, 2 * 64 * 64 * 4 * 2])
def test_how_many_are_made_at_a_time_does_not_matter(kind, block_bytes, digits, monkeypatch):
    _, images = images_of(digits, augmentation=kind)
    at_once = epoch_of(images)
    monkeypatch.setattr(augmentation, "BLOCK_BYTES", block_bytes)
    _, in_blocks = images_of(digits, augmentation=kind)
    order = in_blocks.order(0)
    assert [place.stop - place.start for place, _ in in_blocks.epoch(0, order)] == [64, 64, 64, 8]
    assert torch.equal(epoch_of(in_blocks), at_once)


def test_all_crops_and_flips_are_equally_likely(digits):
    _, images = images_of(digits, members=20, augmentation="crop_flip")
    crops = torch.cat([images._crops(epoch).flatten(0, 1) for epoch in range(10)])
    for column, choices in enumerate((9, 9, 2)):
        counts = crops[:, column].bincount(minlength=choices)
        assert len(counts) == choices
        expected = len(crops) / choices
        assert ((counts - expected).abs() < 5 * (expected * (1 - 1 / choices)) ** 0.5).all()
