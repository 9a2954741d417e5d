"""torch.optim's fused optimizers for cohorts, whose members may have different learning rates; schedules."""

import itertools
import math
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.execution import FixedGradients
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

    The parameters `[members, ...]` are changed in place. Consecutive members with the same learning rate form a
    parameter group of views of the stacked tensors; `apart`, each member does.
    """

    def __init__(
        self, parameters: State, settings: TrainingConfig, learning_rates: Sequence[float], *, apart: bool = False
    ) -> None:
        changes = [i for i in range(1, len(learning_rates)) if apart or learning_rates[i] != learning_rates[i - 1]]
        spans = [slice(*ends) for ends in itertools.pairwise([0, *changes, len(learning_rates)])]
        self._views = [(span, {name: tensor[span] for name, tensor in parameters.items()}) for span in spans]
        groups = [
            {"params": list(views.values()), "lr": learning_rates[span.start], "initial_lr": learning_rates[span.start]}
            for span, views in self._views
        ]
        fused = all(parameter.is_floating_point() for parameter in parameters.values())  # complex ones cannot be
        shared: dict[str, Any] = {"weight_decay": settings.weight_decay, "fused": fused}
        device = next(iter(parameters.values())).device
        self._rates: Tensor | None = None
        """On a GPU the groups' learning rates, float32 as its kernels want them, which a CUDA graph reads."""
        if fused and device.type == "cuda":
            self._initial = torch.tensor([group["lr"] for group in groups], device=device)
            self._rates = self._initial.clone()
            for group, rate in zip(groups, self._rates, strict=True):
                group["lr"] = rate
            if settings.optimizer != "sgd":
                shared["capturable"] = True
        self._optimizer: torch.optim.Optimizer
        if settings.optimizer == "sgd":
            self._optimizer = torch.optim.SGD(groups, momentum=settings.momentum, **shared)
        else:
            kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
            self._optimizer = kind(groups, **shared)
        # torch would make the moments in the first step, after the stack was fitted into memory.
        moments = moments_of(settings)
        self._moments = {f"{m}/{name}": torch.zeros_like(p) for m in moments for name, p in parameters.items()}
        self._steps: State = {}
        if settings.optimizer != "sgd":
            self._steps = {f"{STEP}/{name}": torch.zeros(len(p), device=p.device) for name, p in parameters.items()}
        for span, views in self._views:
            for name, view in views.items():
                own = {moment: self._moments[f"{moment}/{name}"][span] for moment in moments}
                if self._steps:
                    own[STEP] = self._steps[f"{STEP}/{name}"][span.start]  # counts for the whole span
                self._optimizer.state[view] = own

    def step(self, gradients: State, factor: float, idle: Sequence[Collection[str]] = ()) -> None:
        """Move the parameters along their gradients `[members, ...]`, at `factor` times each member's rate.

        `idle` names for each member those that stay; members must then be apart.
        """
        if self._rates is not None:
            torch.mul(self._initial, factor, out=self._rates)
        else:
            for group in self._optimizer.param_groups:
                group["lr"] = group["initial_lr"] * factor
        move = partial(self._move, gradients, idle)
        gradients.replay(move) if isinstance(gradients, FixedGradients) else move()

    def _move(self, gradients: State, idle: Sequence[Collection[str]]) -> None:
        for span, views in self._views:
            for name, view in views.items():
                view.grad = None if idle and name in idle[span.start] else gradients[name][span]
        self._optimizer.step()
        self._optimizer.zero_grad()  # the next step's gradients need the memory

    def state(self) -> State:
        """Moments `[members, ...]`, and numbers of steps `[members]`, as "moment/parameter"; not copies."""
        for span, _ in self._views:
            for steps in self._steps.values():
                steps[span] = steps[span.start].clone()
        return self._moments | self._steps
