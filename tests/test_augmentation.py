from __future__ import annotations

import torch
from conftest import small_sweep
from dataset_files import write_cifar10

from dbviz_ray.datasets import load_dataset
from dbviz_ray.datasets import augmentation
from dbviz_ray.datasets.augmentation import PADDING, AugmentedImages
from dbviz_ray.seeds import torch_generator


def batches_of(sweep, data):
    models = [m for m in sweep.models() if m.width == 4][:2]
    return models, AugmentedImages(models, data, torch.device("cpu"), torch.float32)


def test_every_image_comes_once_an_epoch_in_an_order_of_its_own(digits):
    _, batches = batches_of(small_sweep(training={"epochs": 3, "batch_size": 64}), digits)
    order = batches.order(0)
    assert torch.equal(order.sort().values, torch.arange(200).expand(2, 200))
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order, batches.order(1))
    pieces = list(batches.epoch(0, order))
    assert [place.stop - place.start for place, _ in pieces] == [64, 64, 64, 8]
    for place, images in pieces:
        assert torch.equal(images, digits.normalised(digits.train_images[order[:, place]]))


def test_crops_and_flips_equal_a_naive_loop(tmp_path):
    write_cifar10(tmp_path)
    sweep = small_sweep(dataset={"name": "cifar10"}, training={"augmentation": "crop_flip", "batch_size": 70})
    data = load_dataset(sweep.dataset, str(tmp_path))
    models, batches = batches_of(sweep, data)
    order = batches.order(4)
    made = torch.cat([images for _, images in batches.epoch(4, order)], dim=1)
    padded = torch.nn.functional.pad(data.train_images, (PADDING,) * 4)
    for member, model in enumerate(models):
        draws = torch.rand(300, 3, generator=torch_generator("cpu", "augmentation", model.seeds.augmentation, 4))
        for place in range(0, 300, 17):
            top, left, flip = (int(d * n) for d, n in zip(draws[place], (9, 9, 2), strict=True))
            crop = padded[order[member, place], :, top : top + 32, left : left + 32]
            crop = crop.flip(-1) if flip else crop
            assert torch.equal(made[member, place], data.normalised(crop))
