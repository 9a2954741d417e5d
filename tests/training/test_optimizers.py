from __future__ import annotations

import math

import pytest
import torch

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.optimizers import CohortOptimizer, schedule_factor

STEPS_PER_EPOCH = 7

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "weight_decay": 0.01},
    "sgd with momentum": {"optimizer": "sgd", "momentum": 0.9},
    "adam": {"optimizer": "adam", "weight_decay": 0.01},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.1},
}


def factors(schedule, epochs, steps_per_epoch=STEPS_PER_EPOCH):
    settings = TrainingConfig(schedule=schedule, epochs=epochs)
    return [schedule_factor(settings, step, steps_per_epoch) for step in range(epochs * steps_per_epoch)]


def factors_of(scheduler, optimizer, steps):
    made = []
    for _ in range(steps):
        made.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return made


@pytest.mark.parametrize("epochs", [1, 5, 8, 24])
def test_cosine_is_torchs_taken_step_by_step(epochs):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs * STEPS_PER_EPOCH)
    expected = factors_of(scheduler, optimizer, epochs * STEPS_PER_EPOCH)
    assert factors("cosine", epochs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("epochs", "milestones"), [(8, [3, 5, 7]), (24, [9, 15, 21]), (100, [38, 63, 88])])
def test_drops_are_those_of_the_paper(epochs, milestones):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    in_steps = [milestone * STEPS_PER_EPOCH for milestone in milestones]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, in_steps, gamma=0.1)
    assert factors("drops", epochs) == pytest.approx(factors_of(scheduler, optimizer, epochs * STEPS_PER_EPOCH))


def test_inverse_square_root_changes_every_512_steps():
    made = factors("inverse_sqrt", 1, steps_per_epoch=1600)
    assert [made[step] for step in (0, 511, 512, 1023, 1024, 1536)] == pytest.approx(
        [1, 1, 1 / math.sqrt(2), 1 / math.sqrt(2), 1 / math.sqrt(3), 0.5]
    )


def test_a_constant_rate_stays():
    assert set(factors("constant", 5)) == {1.0}


def quadratic_steps(optimizer, parameters, steps, start=0):
    """Steps down the sum of p**2 / 2 over every parameter p, whose gradient is p."""
    for step in range(start, start + steps):
        optimizer.step({name: tensor.clone() for name, tensor in parameters.items()}, 0.9**step)


def stacked():
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(4, *shape, generator=generator) for name, shape in (("w", (2, 3)), ("b", (3,)))}


RATES = [0.1, 0.1, 0.01, 0.5]


@pytest.mark.parametrize("fields", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_member_moves_at_its_own_rate_as_in_torch(fields):
    parameters = stacked()
    quadratic_steps(CohortOptimizer(parameters, TrainingConfig(**fields), RATES), parameters, 5)
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    further = {name: value for name, value in fields.items() if name != "optimizer"}
    for member, rate in enumerate(RATES):
        own = {name: tensor[member].clone() for name, tensor in stacked().items()}
        optimizer = kinds[fields["optimizer"]](own.values(), lr=rate, **further)
        for step in range(5):
            optimizer.param_groups[0]["lr"] = rate * 0.9**step
            for parameter in own.values():
                parameter.grad = parameter.clone()
            optimizer.step()
        for name, parameter in own.items():
            torch.testing.assert_close(parameters[name][member], parameter)


@pytest.mark.parametrize("rates", [[0.1] * 4, RATES], ids=["one rate", "rates of their own"])
@pytest.mark.parametrize("fields", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_restored_optimizer_continues_unchanged(fields, rates):
    settings = TrainingConfig(**fields)
    undisturbed, interrupted = stacked(), stacked()
    quadratic_steps(CohortOptimizer(undisturbed, settings, rates), undisturbed, 6)
    first = CohortOptimizer(interrupted, settings, rates)
    quadratic_steps(first, interrupted, 2)
    saved = {name: tensor.clone() for name, tensor in first.state().items()}
    assert all(tensor.shape[:1] == (4,) for name, tensor in saved.items() if name != "step")
    second = CohortOptimizer(interrupted, settings, rates)
    second.restore(saved)
    quadratic_steps(second, interrupted, 4, start=2)
    for name, tensor in undisturbed.items():
        assert torch.equal(tensor, interrupted[name])
