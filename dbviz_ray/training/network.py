"""Networks of one shape computed as one: their forward pass and gradients, side by side.

The members' parameters are stacked (`torch.func.stack_module_state`). A step is computed with `vmap` for `stack`
members at a time, or for each member alone. It is captured once per batch shape as a flat list of tensor operations,
so that vmap and autograd cost nothing per step. Training arrays of models is the idea of HFTA (Wang et al., MLSys 2021,
arXiv 2102.02344).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.execution import Eager, Part
from dbviz_ray.training.gradients import (
    IMAGES,
    Batch,
    PixelLimits,
    State,
    Step,
    cross_entropy,
    gradient_step,
    perturbed,
)
from dbviz_ray.training.layers import MaskShapes, autocast, mask_shapes, with_folded_batch_norm, with_masked_dropout

SHARPNESS_RADIUS = 0.05
"""rho in the definition of sharpness, the same for every model (the default of Foret et al.)."""
SHARPNESS_IMAGES = 1000
"""The most training images that sharpness is computed on."""
SHARPNESS_BATCH = 128
"""Images at a time, unless only fewer fit into memory."""


class StackedState:
    """The stacked state of networks of one shape, and their forward pass."""

    parameters: State
    """Trained parameters `[members, ...]` by name; frozen ones are among the buffers."""
    buffers: State
    state_names: dict[str, str]
    """From the names in a member's `state_dict` to the names of the tensors above."""

    def __init__(self, networks: Sequence[nn.Module], precision: torch.dtype | None = None) -> None:
        first = networks[0]
        self.members = len(networks)
        self.state_names = _state_names(first)
        stacked, buffers = stack_module_state(list(networks))
        frozen = {name for name, parameter in first.named_parameters() if not parameter.requires_grad}
        self.parameters = {name: p.detach() for name, p in stacked.items() if name not in frozen}
        self.buffers = buffers | {name: stacked[name].detach() for name in frozen}
        # Copies of one network serve as functions; not on the meta device: moving there would untie weights.
        self._alone = with_masked_dropout(copy.deepcopy(first))
        self._together = with_folded_batch_norm(with_masked_dropout(copy.deepcopy(first)))
        # This makes grouped convolutions up to 3 times faster on CPUs (12 channels of 8x8 images).
        convolves = any(isinstance(module, nn.Conv2d) for module in first.modules())
        self._memory_format = torch.channels_last if convolves else torch.contiguous_format
        device = next(iter(stacked.values())).device
        self._autocast: Callable[[], AbstractContextManager[object]] = (
            nullcontext if precision is None else partial(autocast, device.type, precision)
        )

    def forward(
        self, parameters: State, buffers: State, images: Tensor, *, training: bool, exact: bool = False
    ) -> Tensor:
        """Logits `[m, n, classes]` of images `[m, n, c, h, w]` with any m members' state; `exact`: no autocast."""
        members = images.shape[0]
        skeleton = self._alone if members == 1 else self._together
        skeleton.train(training)
        with nullcontext() if exact else self._autocast():
            if members == 1:
                own = {name: tensor[0] for name, tensor in (buffers | parameters).items()}
                image_batch = images[0].contiguous(memory_format=self._memory_format)
                return functional_call(skeleton, own, (image_batch,))[None]  # type: ignore[no-any-return]
            folded = images.movedim(0, 1).flatten(1, 2).contiguous(memory_format=self._memory_format)

            def one(own: State, image_batch: Tensor) -> Tensor:
                return functional_call(skeleton, own, (image_batch,))  # type: ignore[no-any-return]

            return vmap(one, in_dims=(0, 1))(buffers | parameters, folded.unflatten(1, (members, -1)))

    def sliced(self, start: int, stop: int) -> tuple[State, State]:
        """Views of some members' parameters and buffers."""
        return _sliced(self.parameters, start, stop), _sliced(self.buffers, start, stop)

    def mask_shapes(self, images: Tensor) -> MaskShapes:
        """The dropout masks of one member, for a batch like `images` `[n, c, h, w]`."""
        return mask_shapes(self._alone, images)

    def member_state(self, member: int) -> State:
        """Copies of one member's tensors, named as in its own `state_dict`."""
        tensors = self.parameters | self.buffers
        return {key: tensors[name][member].detach().clone() for key, name in self.state_names.items()}


class CohortNetwork(StackedState):
    """Networks of one shape, on one device, that are trained together.

    Only adversarial training uses `limits`. For distillation, `teachers` holds one trained network for each member.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        settings: TrainingConfig,
        limits: PixelLimits,
        teachers: Sequence[nn.Module] = (),
        execution: Eager | None = None,
    ) -> None:
        precision = torch.bfloat16 if settings.precision == "bfloat16" else None
        super().__init__(networks, precision)
        self._teachers = StackedState(teachers, precision) if teachers else None
        self._teacher_state = self._teachers.parameters | self._teachers.buffers if self._teachers else {}
        self._step = gradient_step(self.forward, settings, self._teachers.forward if self._teachers else None, limits)
        self._execution = execution or Eager()
        self._running: dict[tuple[int, torch.Size], Part] = {}
        self.restack(self.members)

    def restack(self, stack: int) -> None:
        """Compute `stack` members at a time from now on."""
        self.stack = stack
        self._chunks = [(start, min(start + stack, self.members)) for start in range(0, self.members, stack)]

    def forget_other_stacks(self) -> None:
        """Free the captured steps of other stacks."""
        self._running = {key: run for key, run in self._running.items() if key[0] == self.stack}

    def backward(self, batch: Batch) -> tuple[State, Tensor]:
        """Every member's gradients `[members, ...]` by parameter, and logits `[members, n, classes]`.

        In training mode. Batches of one shape must hold the same tensors. The next call may reuse the memory of the
        gradients.
        """
        return self.prepare(batch)(batch)

    def prepare(self, batch: Batch) -> Part:
        """The function that computes `backward` for batches of this shape, captured at the first one.

        It changes no state, even if memory runs out here; a smaller stack may fit then.
        """
        key = (self.stack, batch[IMAGES].shape)
        run = self._running.get(key)
        if run is None:
            run = self._running[key] = self._prepared(batch)
        return run

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits `[members, n, classes]` of the same images `[n, channels, height, width]`.

        In evaluation mode and without autocast, as for label maps.
        """
        parts = []
        for start, stop in self._chunks:
            same = images.expand(stop - start, *images.shape)
            parts.append(self.forward(*self.sliced(start, stop), same, training=False, exact=True))
        return torch.cat(parts)

    def _prepared(self, batch: Batch) -> Part:
        """The step of all members for batches of one shape, one part for each chunk."""
        parts: list[Part] = []
        captured: dict[int, Step] = {}
        # Preparing may run steps, which would update batch norm's statistics once too often.
        before = {name: buffer.clone() for name, buffer in self.buffers.items()}
        for start, stop in self._chunks:
            inputs = (*self.sliced(start, stop), _sliced(self._teacher_state, start, stop))
            if stop - start not in captured:
                captured[stop - start] = self._execution.captured(self._step, *inputs, _sliced(batch, start, stop))
            parts.append(partial(_run_chunk, captured[stop - start], inputs, start, stop))
        try:
            return self._execution.prepared(parts, batch)
        finally:
            for name, buffer in self.buffers.items():
                buffer.copy_(before[name])


def sharpness(network: StackedState, images: Tensor, labels: Tensor, batch: int = SHARPNESS_BATCH) -> Tensor:
    """L(w + rho * g / |g|) - L(w) with g = grad L(w), for every member: float `[members]`.

    This is the sharpness of a minimum, which sharpness-aware minimisation lowers (Foret et al., arXiv 2010.01412). L is
    the mean cross-entropy over plain images `[n, channels, height, width]`, the same for all members, with given labels
    int64 `[members, n]`, in evaluation mode and without autocast. It is computed for one member and `batch` images at a
    time: a training that fits into a GPU's memory must not fail at its end.
    """
    return torch.stack([_sharpness_of(network, images, labels, batch, member) for member in range(network.members)])


def _sharpness_of(network: StackedState, images: Tensor, labels: Tensor, batch: int, member: int) -> Tensor:
    parameters, buffers = network.sliced(member, member + 1)
    parts = list(zip(images.split(batch), labels[member : member + 1].split(batch, dim=1), strict=True))

    def loss(weights: State, some: Tensor, given: Tensor) -> Tensor:
        logits = network.forward(weights, buffers, some[None], training=False, exact=True)
        return cross_entropy(logits, given) * (len(some) / len(images))

    ascent = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for part in parts:
        # torch.func.grad would keep tensors for second derivatives and need twice the memory.
        leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
        gradients = torch.autograd.grad(loss(leaves, *part), list(leaves.values()), allow_unused=True)
        for total, gradient in zip(ascent.values(), gradients, strict=True):
            if gradient is not None:
                total += gradient
    with torch.no_grad():
        moved = perturbed(parameters, ascent, SHARPNESS_RADIUS)
        changes = (loss(moved, *part) - loss(parameters, *part) for part in parts)
        return sum(changes, start=images.new_zeros(()))


def _run_chunk(
    step: Step, inputs: tuple[State, State, State], start: int, stop: int, batch: Batch
) -> tuple[State, Tensor]:
    gradients, logits = step(*inputs, _sliced(batch, start, stop))
    # Fused optimizers assume that a gradient has the memory layout of its parameter.
    return {name: gradient.contiguous() for name, gradient in gradients.items()}, logits


def _sliced(tensors: State, start: int, stop: int) -> State:
    return {name: tensor[start:stop] for name, tensor in tensors.items()}


def _state_names(network: nn.Module) -> dict[str, str]:
    """Names in the state_dict, which omits non-persistent buffers and lists tied tensors under every name."""
    first_names = {id(tensor): name for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    return {key: first_names[id(tensor)] for key, tensor in network.state_dict(keep_vars=True).items()}
