"""Draws for a cohort's steps."""

import pytest
import torch
from conftest import small_sweep

from dbviz_ray.config import AdversaryConfig
from dbviz_ray.training.batches import Batches
from dbviz_ray.training.gradients import IMAGES, LABELS, START

EVERYTHING = {"augmentation": "crop_flip", "mixing": "cutmix", "adversary": AdversaryConfig().model_dump()}
MASKS = {"a": (0.25, (3,)), "b": (0.5, (2, 4))}


def models_of(seeds=(0, 1, 2), **training):
    grid = {"width": [4], "seed": [0]} | {stream: list(values) for stream, values in seeds.items()}
    return small_sweep(grid=grid, training={"batch_size": 64} | training, scores=["fragmentation"]).models()


def epoch_of(models, data, masks=MASKS):
    shapes = lambda images: {name: (p, (len(images), *shape)) for name, (p, shape) in masks.items()}  # noqa: E731
    batches = Batches(models, data, torch.device("cpu"), torch.float32, shapes)
    draws = batches.draws(5)
    return list(batches.epoch(5, draws, data.train_labels.expand(len(models), -1).gather(1, draws.order)))


@pytest.mark.parametrize(
    ("stream", "depending"),
    [
        ("init_seed", set()),
        ("order_seed", {IMAGES, LABELS}),
        ("augmentation_seed", {IMAGES, LABELS, START}),
        ("dropout_seed", {"a", "b"}),
        ("label_noise_seed", set()),
        ("train_set_seed", {IMAGES, LABELS}),
    ],
)
def test_each_seed_changes_only_its_own_streams(stream, depending, digits):
    models = models_of({stream: (3, 4)}, **EVERYTHING)
    for batch in epoch_of(models, digits):
        assert {name for name, tensor in batch.items() if not torch.equal(tensor[0], tensor[1])} == depending
        assert all(tensor.clone().stride() == tensor.stride() for tensor in batch.values()), "for compiled steps"


def test_a_mask_that_drops_everything_is_zero(digits):
    assert not epoch_of(models_of({"seed": (0,)}), digits, masks={"m": (1.0, (5,))})[0]["m"].any()
