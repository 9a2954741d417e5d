"""torch.optim's fused optimizers over a cohort, whose members may differ in their learning rate; schedules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dbviz_ray.cohort import Slice
from dbviz_ray.config import TrainingConfig
from dbviz_ray.gradients import State

DROPS = (3, 5, 7)
"""Eighths of the epochs after which the paper divides the learning rate by ten."""
INVERSE_SQRT_STEPS = 512
STEP = "step"


def schedule_factor(settings: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """What the learning rate is multiplied by in step number `step` (from 0) of the training."""
    match settings.schedule:
        case "drops":
            epoch = step // steps_per_epoch
            return math.prod(0.1 for eighths in DROPS if 8 * epoch >= eighths * settings.epochs)
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / (settings.epochs * steps_per_epoch)))
        case "inverse_sqrt":
            return 1 / math.sqrt(1 + step // INVERSE_SQRT_STEPS)
        case _:
            return 1.0


class CohortOptimizer:
    """An optimizer over stacked parameters. Its steps are elementwise, so they act on each member as on it alone.

    Args:
        slices: The cohort's parameters, in pieces within which the learning rate is one.
        settings: Optimizer, momentum and weight decay.
        learning_rates: One for each member.
    """

    def __init__(self, slices: Sequence[Slice], settings: TrainingConfig, learning_rates: Sequence[float]) -> None:
        self._slices = slices
        self._rates = [learning_rates[piece.start] for piece in slices]
        groups = [{"params": list(piece.parameters.values())} for piece in slices]
        self._optimizer = _torch_optimizer(groups, settings)

    def step(self, factor: float) -> None:
        """Move the parameters along their gradients, at `factor` times each member's learning rate."""
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._optimizer.step()

    def state(self) -> State:
        """Moments `[members, ...]` as "moment/parameter", and the number of steps."""
        parts: dict[str, list[Tensor]] = {}
        for piece in self._slices:
            for name, parameter in piece.parameters.items():
                for moment, value in self._optimizer.state[parameter].items():
                    if value is not None:
                        parts.setdefault(STEP if moment == STEP else f"{moment}/{name}", []).append(value)
        return {name: values[0] if name == STEP else torch.cat(values) for name, values in parts.items()}

    def restore(self, state: State) -> None:
        """Continue from what `state()` gave, however the cohort was sliced then."""
        for piece in self._slices:
            for name, parameter in piece.parameters.items():
                own = {
                    key.partition("/")[0]: value[piece.start : piece.stop].clone()
                    for key, value in state.items()
                    if key.partition("/")[2] == name
                }
                if STEP in state:
                    own[STEP] = state[STEP].clone()
                self._optimizer.state[parameter] = own


def _torch_optimizer(groups: list[dict[str, list[Tensor]]], settings: TrainingConfig) -> torch.optim.Optimizer:
    common = {"weight_decay": settings.weight_decay, "fused": True}
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(groups, **common)  # type: ignore[arg-type]
        case "adamw":
            return torch.optim.AdamW(groups, **common)  # type: ignore[arg-type]
        case "sgd":
            return torch.optim.SGD(groups, lr=1.0, momentum=settings.momentum, **common)  # type: ignore[arg-type]
