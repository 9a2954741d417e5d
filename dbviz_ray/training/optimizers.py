"""torch.optim's fused optimizers for cohorts, whose members may have different learning rates; schedules."""

import itertools
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw
from torch.optim.sgd import sgd

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
    group of views of the stacked tensors; `apart`, each member does.
    """

    def __init__(
        self, parameters: State, settings: TrainingConfig, learning_rates: Sequence[float], *, apart: bool = False
    ) -> None:
        changes = [i for i in range(1, len(learning_rates)) if apart or learning_rates[i] != learning_rates[i - 1]]
        spans = [slice(*ends) for ends in itertools.pairwise([0, *changes, len(learning_rates)])]
        device = next(iter(parameters.values())).device
        fused = all(parameter.is_floating_point() for parameter in parameters.values())  # complex ones cannot be
        self._initial = [learning_rates[span.start] for span in spans]
        self._on_gpu: tuple[Tensor, Tensor] | None = None
        """The groups' learning rates in the beginning and now, float32 as GPUs want them; a CUDA graph reads them."""
        if fused and device.type == "cuda":
            self._on_gpu = torch.tensor(self._initial, device=device), torch.tensor(self._initial, device=device)
        # Functions of torch.optim, since a step of its classes takes narrow networks twice as long.
        self._update: Callable[..., None]
        if settings.optimizer == "sgd":
            self._update = partial(sgd, momentum=settings.momentum, dampening=0, nesterov=False)
        else:
            kind = adamw if settings.optimizer == "adamw" else adam
            self._update = partial(kind, beta1=0.9, beta2=0.999, eps=1e-8, amsgrad=False, has_complex=not fused)
        self._update = partial(self._update, weight_decay=settings.weight_decay, fused=fused, maximize=False)
        # torch would make the moments in the first step, after the stack was fitted into memory.
        moments = moments_of(settings)
        self._moments = {f"{m}/{name}": torch.zeros_like(p) for m in moments for name, p in parameters.items()}
        self._steps: State = {}
        if settings.optimizer != "sgd":
            self._steps = {f"{STEP}/{name}": torch.zeros(len(p), device=p.device) for name, p in parameters.items()}
        self._names = list(parameters)
        self._groups = []
        for span in spans:
            lists = [[self._moments[f"{moment}/{name}"][span] for name in parameters] for moment in moments]
            lists = lists or [[]]
            if self._steps:  # whose first number counts for the whole span
                lists += [[], [self._steps[f"{STEP}/{name}"][span.start] for name in parameters]]
            self._groups.append((span, [parameter[span] for parameter in parameters.values()], lists))

    def step(self, gradients: State, factor: float, idle: Sequence[Collection[str]] = ()) -> None:
        """Move the parameters along their gradients `[members, ...]`, at `factor` times each member's rate.

        `idle` names for each member those that stay; members must then be apart.
        """
        rates: Iterable[float | Tensor] = [rate * factor for rate in self._initial]
        if self._on_gpu is not None:
            initial, rates = self._on_gpu
            torch.mul(initial, factor, out=rates)
        move = partial(self._move, gradients, rates, idle)
        gradients.replay(move) if isinstance(gradients, FixedGradients) else move()

    @torch.no_grad()
    def _move(self, gradients: State, rates: Iterable[float | Tensor], idle: Sequence[Collection[str]]) -> None:
        for (span, parameters, lists), rate in zip(self._groups, rates, strict=True):
            own = [parameters, [gradients[name][span] for name in self._names], *lists]
            if idle:
                moving = [name not in idle[span.start] for name in self._names]
                own = [list(itertools.compress(tensors, moving)) for tensors in own]
            self._update(*own, lr=rate)

    def state(self) -> State:
        """Moments `[members, ...]`, and numbers of steps `[members]`, as "moment/parameter"; not copies."""
        for span, *_ in self._groups:
            for steps in self._steps.values():
                steps[span] = steps[span.start].clone()
        return self._moments | self._steps
