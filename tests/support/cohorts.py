"""Small cohorts of digits models, and what their tests share."""

import copy

import pytest
import torch

from dbviz_ray.config import AdversaryConfig, ResourcesConfig, SweepConfig, TrainingConfig
from dbviz_ray.config.seeds import torch_generator
from dbviz_ray.training.cohort import train_cohort
from dbviz_ray.training.gradients import IMAGES, LABELS

TOGETHER = ResourcesConfig(stack=6)

CONVOLUTIONAL = {"architecture": "support.user_networks:convolutional", "width": 2}

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 5e-4},
    "sgd without momentum": {"optimizer": "sgd", "learning_rate": 0.1},
    "adam": {"optimizer": "adam", "learning_rate": 0.01},
    "adam with decay": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01, "weight_decay": 0.1},
}
SCHEDULES = {"drops": {"schedule": "drops", "epochs": 8}, "cosine": {"schedule": "cosine"}}
SAM = {f"sam over {name}": OPTIMIZERS[name] | {"sam_radius": 0.05} for name in ("sgd", "adamw")}
INPUTS = {
    "crop_flip": {"augmentation": "crop_flip"},
    "mixup": {"mixing": "mixup", "mixing_alpha": 0.5},
    "cutmix": {"mixing": "cutmix"},
    "adversary": {"adversary": AdversaryConfig(radius=2.0, step=1.0, steps=2)},
}
ALL_AT_ONCE = OPTIMIZERS["sgd"] | SAM["sam over sgd"] | INPUTS["crop_flip"] | INPUTS["cutmix"] | INPUTS["adversary"]


def cohort_of(architecture="fully_connected", width=8, options=None, **training):
    """Six digits models that differ in their seeds and label noise; three draw training sets of their own.

    All batches have one size, to be captured once.
    """
    grid = {"architecture": [architecture], "width": [width], "label_noise": [0.0, 0.2], "seed": [0, 1, 2]}
    grid["options"] = options or {}
    settings = TrainingConfig(**{"epochs": 3, "batch_size": 50, "precision": "float64"} | training)
    models = []
    sweep = SweepConfig(name="small", dataset={"name": "digits", "train_size": 200, "test_size": 100}, grid=grid)
    for place, model in enumerate(sweep.models()):
        seeds = model.seeds.model_copy(update={"train_set": place if place in (1, 3, 4) else None})
        models.append(model.model_copy(update={"training": settings, "seeds": seeds}))
    return models


def with_rates(models, *rates):
    settings = [m.training.model_copy(update={"learning_rate": rate}) for m, rate in zip(models, rates, strict=True)]
    return [model.model_copy(update={"training": own}) for model, own in zip(models, settings, strict=True)]


def pixel_limits(lowest=0.0, highest=1.0, unit=0.1):
    return torch.tensor([lowest, highest, unit], dtype=torch.float64).view(3, 1, 1, 1)


def copies_of(networks):
    return lambda member: copy.deepcopy(networks[member])


def batch_of(cohort, images, seed=0):
    """Random images of 1x8x8 pixels, labels, and dropout masks from a stream for each member."""
    generator, first = torch.Generator().manual_seed(seed), next(iter(cohort.parameters.values()))
    batch = {
        IMAGES: torch.randn(cohort.members, images, 1, 8, 8, dtype=first.dtype, generator=generator),
        LABELS: torch.randint(10, (cohort.members, images), generator=generator),
    }
    streams = [torch_generator("cpu", "dropout", member, seed) for member in range(cohort.members)]
    for name, (p, shape) in cohort.mask_shapes(batch[IMAGES][0].to(first.device)).items():
        kept = [torch.empty(shape, dtype=first.dtype).bernoulli_(1 - p, generator=stream) for stream in streams]
        batch[name] = torch.stack(kept) / (1 - p)
    return {name: tensor.to(first.device) for name, tensor in batch.items()}


def assert_same_weights(trained, weights, tolerance=1e-12):
    torch.testing.assert_close(trained.weights, weights, rtol=0, atol=tolerance)


def assert_same_results(ours, theirs):
    """But for rounding: the same members computed together in other ways."""
    for one, other in zip(ours, theirs, strict=True):
        assert_same_weights(one, other.weights, tolerance=1e-10)
        torch.testing.assert_close(one.history, other.history, equal_nan=True)
        assert one.sharpness == pytest.approx(other.sharpness, rel=1e-6)
        assert torch.equal(one.predictions["train"], other.predictions["train"])


class Memory:
    """Checkpoints in memory; `load` gives a copy of what was saved last."""

    def __init__(self):
        self.saved = []

    def load(self):
        return {name: tensor.clone() for name, tensor in self.saved[-1].items()} if self.saved else None

    def save(self, state):
        self.saved.append(state)


class KilledError(Exception):
    pass


def killed_after(epoch, models, data, device, **arguments):
    """Checkpoints of a training that was killed after this many epochs and lost its last checkpoint."""
    memory = Memory()

    def kill(training):
        if training.epoch == epoch:
            raise KilledError

    with pytest.raises(KilledError):
        train_cohort(models, data, device, checkpoints=memory, on_epoch=kill, **arguments)
    memory.saved.pop()
    return memory
