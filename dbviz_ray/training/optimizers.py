"""torch.optim's fused optimizers for cohorts, whose members may have different learning rates; schedules."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.gradients import State

DROPS = (3, 5, 7)
"""The paper divides the learning rate by ten after these eighths of the epochs."""
INVERSE_SQRT_STEPS = 512
STEP = "step"
MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}
"""torch's names of the tensors that an optimizer keeps for every parameter; SGD without momentum keeps none."""


def moments_of(settings: TrainingConfig) -> tuple[str, ...]:
    """Names of the moments that the optimizer of `settings` keeps."""
    return () if settings.optimizer == "sgd" and not settings.momentum else MOMENTS[settings.optimizer]


def schedule_factor(settings: TrainingConfig, step: int, steps_per_epoch: int) -> float:
    """The factor of the learning rate in step number `step` of the training, from 0."""
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
    """An optimizer for stacked parameters. Its steps are elementwise, so no member affects another.

    Consecutive members with the same learning rate form a parameter group of views of the stacked tensors.

    Args:
        parameters: `[members, ...]` by name; changed in place.
        settings: Optimizer, momentum and weight decay.
        learning_rates: One for each member.
    """

    def __init__(self, parameters: State, settings: TrainingConfig, learning_rates: Sequence[float]) -> None:
        changes = [i for i in range(1, len(learning_rates)) if learning_rates[i] != learning_rates[i - 1]]
        self._spans = [slice(*ends) for ends in itertools.pairwise([0, *changes, len(learning_rates)])]
        self._views = [{name: tensor[span] for name, tensor in parameters.items()} for span in self._spans]
        self._rates = [learning_rates[span.start] for span in self._spans]
        self._optimizer = _torch_optimizer([{"params": list(views.values())} for views in self._views], settings)
        # Without this, torch would make the moments in the first step, after the stack was fitted into memory.
        zeros = {
            f"{moment}/{name}": torch.zeros_like(parameter)
            for moment in moments_of(settings)
            for name, parameter in parameters.items()
        }
        counted = settings.optimizer != "sgd"
        self.restore(zeros | ({STEP: torch.zeros(())} if counted else {}))

    def step(self, gradients: State, factor: float) -> None:
        """Move the parameters along their gradients `[members, ...]`, at `factor` times each member's rate."""
        for span, views in zip(self._spans, self._views, strict=True):
            for name, view in views.items():
                view.grad = gradients[name][span]
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        self._optimizer.step()
        self._optimizer.zero_grad()  # the next step's gradients need the memory

    def state(self) -> State:
        """Moments `[members, ...]` as "moment/parameter", and the number of steps."""
        parts: dict[str, list[Tensor]] = {}
        for views in self._views:
            for name, view in views.items():
                for moment, value in self._optimizer.state[view].items():
                    if value is not None:
                        parts.setdefault(STEP if moment == STEP else f"{moment}/{name}", []).append(value)
        return {name: values[0] if name == STEP else torch.cat(values) for name, values in parts.items()}

    def restore(self, state: State) -> None:
        """Continue from a result of `state()`, on any device."""
        for span, views in zip(self._spans, self._views, strict=True):
            for name, view in views.items():
                own = {
                    key.partition("/")[0]: value[span].to(view.device, copy=True)
                    for key, value in state.items()
                    if key.partition("/")[2] == name
                }
                if STEP in state:
                    own[STEP] = state[STEP].to(view.device, copy=True)
                self._optimizer.state[view] = own


def _torch_optimizer(groups: list[dict[str, list[Tensor]]], settings: TrainingConfig) -> torch.optim.Optimizer:
    common = {"weight_decay": settings.weight_decay, "fused": True}
    match settings.optimizer:
        case "adam":
            return torch.optim.Adam(groups, **common)  # type: ignore[arg-type]
        case "adamw":
            return torch.optim.AdamW(groups, **common)  # type: ignore[arg-type]
        case "sgd":
            return torch.optim.SGD(groups, lr=1.0, momentum=settings.momentum, **common)  # type: ignore[arg-type]
