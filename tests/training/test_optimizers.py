from __future__ import annotations

import math

import pytest
import torch

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.optimizers import CohortOptimizer, schedule_factor

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "weight_decay": 0.01},
    "sgd with momentum": {"optimizer": "sgd", "momentum": 0.9},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
}


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"),
    [
        ("constant", 100, {0: 1, 399: 1}),
        ("drops", 100, {0: 1, 151: 1, 152: 0.1, 251: 0.1, 252: 0.01, 351: 0.01, 352: 0.001, 399: 0.001}),
        ("drops", 8, {11: 1, 12: 0.1, 19: 0.1, 20: 0.01, 27: 0.01, 28: 0.001}),  # after 3, 5 and 7 epochs of 4 steps
        ("cosine", 100, {0: 1, 100: (1 + math.sqrt(0.5)) / 2, 200: 0.5, 300: (1 - math.sqrt(0.5)) / 2}),
        (
            "inverse_sqrt",
            500,
            {0: 1, 511: 1, 512: math.sqrt(0.5), 1024: math.sqrt(1 / 3), 1535: math.sqrt(1 / 3), 1536: 0.5},
        ),
    ],
)
def test_schedules_by_hand(schedule, epochs, expected):
    settings = TrainingConfig(schedule=schedule, epochs=epochs)
    made = {step: schedule_factor(settings, step, steps_per_epoch=4) for step in expected}
    assert made == pytest.approx(expected)


def quadratic_steps(optimizer, parameters, steps, start=0):
    """Steps down the sum of p**2 / 2 over every parameter p, whose gradient is p."""
    for step in range(start, start + steps):
        optimizer.step({name: tensor.clone() for name, tensor in parameters.items()}, 0.9**step)


def stacked():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(4, *shape, generator=generator) for name, shape in (("w", (2, 3)), ("b", (3,)))}


RATES = [0.1, 0.1, 0.01, 0.5]


@pytest.mark.parametrize("fields", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_restored_optimizer_continues_unchanged(fields):
    """With rates of their own; tests of training resume with one rate."""
    settings = TrainingConfig(**fields)
    undisturbed, interrupted = stacked(), stacked()
    quadratic_steps(CohortOptimizer(undisturbed, settings, RATES), undisturbed, 6)
    first = CohortOptimizer(interrupted, settings, RATES)
    quadratic_steps(first, interrupted, 2)
    saved = {name: tensor.clone() for name, tensor in first.state().items()}
    assert all(tensor.shape[:1] == (4,) for name, tensor in saved.items() if name != "step")
    second = CohortOptimizer(interrupted, settings, RATES)
    second.restore(saved)
    quadratic_steps(second, interrupted, 4, start=2)
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, interrupted[name])
