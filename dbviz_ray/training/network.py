"""Networks of one shape computed as one, their parameters stacked by name, an idea of HFTA (arXiv 2102.02344).

A step is computed with `vmap` for `stack` members at a time, or for each member alone. It is captured once per batch
shape as a flat list of tensor operations, so that vmap and autograd cost nothing per step.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.config import TrainingConfig
from dbviz_ray.errors import one_line
from dbviz_ray.training.allocations import memory_errors, within_memory
from dbviz_ray.training.execution import Eager, Part
from dbviz_ray.training.gradients import IMAGES, Batch, State, Step, gradient_step
from dbviz_ray.training.layers import MaskShapes, autocast, mask_shapes, with_folded_batch_norm, with_masked_dropout
from dbviz_ray.training.ordinary import OrdinaryNetwork
from dbviz_ray.training.states import Manner, MemberStates, autocast_type, kept, lay_out_channels_last, sliced
from dbviz_ray.training.verification import StepsDifferError, attributes, norm, verify, verify_execution

WORTH_CAPTURING = 100
"""Evaluations of a training from which on they are captured on a CPU. A capture took the time that 45 captured ones of
a ResNet-18 saved, and of a fully connected network 200 (stacks of 8, 2026-11-29)."""
ALIKE = 0.01
"""The largest relative difference of predictions from uncaptured ones: TF32 rounds."""


class StackedState(MemberStates):
    """The stacked state of networks of one shape, and their forward pass side by side."""

    def __init__(self, networks: Sequence[nn.Module], precision: torch.dtype | None = None) -> None:
        super().__init__(networks)
        first = networks[0]
        # Copies of one network serve as functions; not on the meta device: moving there would untie weights.
        self._alone = _copied(first)
        self._together = with_folded_batch_norm(_copied(first))
        # This makes grouped convolutions up to 3 times faster on CPUs (12 channels of 8x8 images).
        self._convolves = any(isinstance(module, nn.Conv2d) for module in first.modules())
        self._memory_format = torch.channels_last if self._convolves else torch.contiguous_format
        if self.device.type == "cuda":  # else every step converts them; on CPUs it gains nothing
            lay_out_channels_last(self, first)
        self._precision = precision

    def forward(
        self, parameters: State, buffers: State, images: Tensor, *, training: bool, exact: bool = False
    ) -> Tensor:
        """Logits `[m, n, classes]` of images `[m, n, c, h, w]` with any m members' state; `exact`: no autocast."""
        members = images.shape[0]
        skeleton = self._alone if members == 1 else self._together
        skeleton.train(training)
        with nullcontext() if exact or self._precision is None else autocast(self.device.type, self._precision):
            if members == 1:
                own = {name: tensor.squeeze(0) for name, tensor in (buffers | parameters).items()}
                image_batch = images[0].contiguous(memory_format=self._memory_format)
                return logits_of(functional_call(skeleton, own, (image_batch,)))[None]

            def one(own: State, image_batch: Tensor) -> Tensor:
                return logits_of(functional_call(skeleton, own, (image_batch,)))

            if not self._convolves:
                return vmap(one)(buffers | parameters, images.clone())  # which the network may change
            folded = images.movedim(0, 1).flatten(1, 2).contiguous(memory_format=self._memory_format)
            return vmap(one, in_dims=(0, 1))(buffers | parameters, folded.unflatten(1, (members, -1)))

    def evaluated(self, member: int, parameters: State, images: Tensor) -> Tensor:
        """See `MemberStates.evaluated`."""
        buffers = sliced(self.buffers, member, member + 1)
        return self.forward(parameters, buffers, images[None], training=False, exact=True)

    def mask_shapes(self, images: Tensor) -> MaskShapes:
        """The dropout masks of one member, for a batch like `images` `[n, c, h, w]`."""
        return mask_shapes(self._alone, images)


def _copied(network: nn.Module) -> nn.Module:
    try:
        with memory_errors():
            return with_masked_dropout(copy.deepcopy(network))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # it may hold anything, such as a lock
        raise StepsDifferError(f"a copy of it cannot be made ({one_line(error)})") from error


class CohortNetwork(StackedState):
    """Networks of one shape, on one device, that are trained together.

    Only adversarial training uses `limits` (see `pixel_limits`). For distillation, `teachers` holds one trained network
    for each member. `fresh` builds a member anew; a copy would lack hooks, and its closures would use the original's
    tensors. `verifies` tells whether captured steps are compared with ordinary modules. StepsDifferError if a member
    cannot be copied, or differs from others outside of its state.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        settings: TrainingConfig,
        limits: Tensor,
        fresh: Callable[[int], nn.Module],
        teachers: Sequence[nn.Module] = (),
        execution: Eager | None = None,
        *,
        verifies: bool = True,
    ) -> None:
        first, *others = map(attributes, networks)
        if any(other != first for other in others):
            raise StepsDifferError("the members differ outside of their parameters and buffers")
        self._fresh = fresh
        precision = autocast_type(settings)
        super().__init__(networks, precision)
        self._settings, self._limits, self._teacher_modules = settings, limits, teachers
        self._teachers = StackedState(teachers, precision) if teachers else None
        self._teacher_state = self._teachers.parameters | self._teachers.buffers if self._teachers else {}
        self._logits = _evaluation(self.forward)
        self._step = gradient_step(self.forward, settings, self._teachers.forward if self._teachers else None, limits)
        self.decays = settings.weight_decay > 0
        self.execution = execution or Eager()
        """How steps run; `execute` changes it."""
        self._verifies = verifies
        self._verified: set[int] = set()
        self._running: dict[tuple[int, torch.Size], Part] = {}
        self._predicting: dict[tuple[int, torch.Size], Part | None] = {}
        evaluations = settings.epochs // settings.evaluate_every
        self.captures_predictions = self.device.type == "cuda" or evaluations >= WORTH_CAPTURING
        self.stack = self.members
        """How many members are computed at a time."""

    def restack(self, stack: int) -> None:
        """Compute `stack` members at a time from now on, and free the captured steps of other stacks."""
        self.stack = stack
        self._running = {key: run for key, run in self._running.items() if key[0] == stack}
        self._predicting = {key: run for key, run in self._predicting.items() if key[0] == stack}

    def execute(self, execution: Eager) -> None:
        """Run steps in this way from now on."""
        self.execution = execution
        self._running.clear()
        self._predicting.clear()

    @property
    def manner(self) -> Manner:  # type: ignore[override]
        """How the members are computed."""
        return Manner(self.stack, self.execution.compiles, self.execution.channels)

    def adopt(self, manner: Manner) -> None:
        """Compute the members in this manner from now on."""
        if manner.stack != self.stack:
            self.restack(manner.stack)
        if manner.compiled and not self.execution.compiles:
            self.execute(self.execution.but(compiles=True))
        if manner.channels != self.execution.channels:
            self.pack(manner.channels)

    @property
    def packs(self) -> bool:
        """Whether members may share groups of convolutions, so that one that diverges spoils others (execution.py)."""
        return self.execution.channels > 0 and self.can_pack

    @property
    def can_pack(self) -> bool:
        """Whether sharing groups could be faster."""
        return self.stack > 1 and self._settings.precision == "bfloat16"

    def pack(self, channels: int) -> None:
        """Let members share groups of convolutions of at most so many channels from now on."""
        self.execution.channels = channels
        self._running.clear()

    def unpack(self) -> None:
        """Share no groups from now on, since a member has diverged."""
        self._verifies = False  # weights that diverge compare with nothing
        self.pack(0)

    def _chunks(self) -> list[tuple[int, int]]:
        return [(start, min(start + self.stack, self.members)) for start in range(0, self.members, self.stack)]

    def backward(self, batch: Batch) -> tuple[State, Tensor]:
        """Every member's gradients `[members, ...]` by parameter, and logits `[members, n, classes]`.

        In training mode, with fewer members at a time from now on if memory runs out. Batches of one shape must hold
        the same tensors. The next call may reuse the memory of the gradients.
        """

        def prepared(stack: int) -> Part:
            if stack != self.stack:
                self.restack(stack)
            try:
                return self.prepare(batch)
            except StepsDifferError:
                if not self.execution.compiles:
                    raise
            # Such as on a node without the compiler of an earlier one.
            self.execute(self.execution.but(compiles=False))
            return self.prepare(batch)

        return within_memory(prepared, self.stack)(batch)

    def prepare(self, batch: Batch) -> Part:
        """The function that computes `backward` for batches of this shape, captured at the first one.

        It changes no state, even if memory runs out here; a smaller stack may fit then. StepsDifferError if the step
        cannot be captured, or does not do what ordinary modules do.
        """
        key = (self.stack, batch[IMAGES].shape)
        run = self._running.get(key)
        if run is None:
            run = self._captured(batch)
            if self._verifies:
                self._verify(run, batch)
            self._running[key] = run
        return run

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits `[members, n, classes]` of the same images `[n, channels, height, width]`.

        In evaluation mode and without autocast, as for label maps.
        """
        batch = {IMAGES: images[None]}
        if self.captures_predictions:
            key = (self.stack, images.shape)
            if key not in self._predicting:
                self._predicting[key] = self._captured_prediction(batch)
            if run := self._predicting[key]:
                return run(batch)[1]
        return self._predicted(batch)

    def _predicted(self, batch: Batch) -> Tensor:
        return torch.cat([self._logits(*self.sliced(start, stop), {}, batch)[1] for start, stop in self._chunks()])

    def _captured_prediction(self, batch: Batch) -> Part | None:
        """What `predict` computes for images of this shape; None if it cannot be captured or then differs."""
        expected, chunks = self._predicted(batch), self._chunks()
        with kept(self.buffers):
            try:
                with memory_errors():
                    capture = self.execution.but(compiles=False).captured
                    of_size = {stop - start: (start, stop) for start, stop in chunks}
                    captured = {n: capture(self._logits, *self.sliced(*one), {}, batch) for n, one in of_size.items()}
                    parts = [partial(captured[stop - start], *self.sliced(start, stop), {}) for start, stop in chunks]
                    run = self.execution.prepared(parts, batch)
                    found = run(batch)[1]
            except torch.OutOfMemoryError:
                raise
            except Exception:  # whatever capturing cannot follow
                return None
        return run if norm(found - expected) <= ALIKE * norm(expected) else None

    def _captured(self, batch: Batch) -> Part:
        try:
            with memory_errors():
                return self._prepared({name: tensor.clone() for name, tensor in batch.items()})  # it may change it
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a fault of the network itself is raised again by the ordinary step
            first_sentence, _, _ = one_line(error).partition(". ")
            raise StepsDifferError(f"its step cannot be captured ({first_sentence})") from error

    def _verify(self, run: Part, batch: Batch) -> None:
        """Compare members alone and a stack with ordinary modules once, and the step as it runs.

        Two members stand for a stack of any size, since vmap treats all sizes alike.
        """
        for size in {min(stop - start, 2) for start, stop in self._chunks()} - self._verified:
            first = sliced(batch, 0, size).items()
            try:
                with memory_errors():
                    doubles = {name: part.double() if part.is_floating_point() else part for name, part in first}
                    verify(self._in_float64(size), doubles)
            except (StepsDifferError, torch.OutOfMemoryError):
                raise
            except Exception as error:  # such as types that its code fixes
                raise StepsDifferError(f"it cannot be compared in float64 ({one_line(error)})") from error
            self._verified.add(size)
        if type(self.execution) is Eager and not self.execution.compiles and self._settings.precision != "bfloat16":
            return  # the same operations as in float64
        # Ordinary modules need more memory.
        with kept(self.buffers), suppress(torch.OutOfMemoryError), memory_errors():
            verify_execution(self, run, batch)

    def _in_float64(self, size: int) -> "CohortNetwork":
        """The first members as one stack that is captured as this one and not verified itself."""
        settings = self._settings.model_copy(update={"precision": "float64"})
        teachers = [copy.deepcopy(teacher).double() for teacher in self._teacher_modules[:size]]

        def fresh(member: int) -> nn.Module:
            return self._fresh(member).double()

        members, limits = [*map(fresh, range(size))], self._limits.double()
        twin = CohortNetwork(members, settings, limits, fresh, teachers, verifies=False)
        for of_twin, own in zip(twin.sliced(0, size), self.sliced(0, size), strict=True):
            for name, tensor in own.items():
                of_twin[name].copy_(tensor)
        return twin

    def ordinary(self, member: int) -> OrdinaryNetwork:
        """One member as an ordinary module that has never been called, with a copy of its state."""
        teachers = [copy.deepcopy(teacher) for teacher in self._teacher_modules[member : member + 1]]
        alone = OrdinaryNetwork([with_masked_dropout(self._fresh(member))], self._settings, self._limits, teachers)
        for name, tensor in (self.parameters | self.buffers).items():
            (alone.parameters | alone.buffers)[name].copy_(tensor[member : member + 1])
        return alone

    def _prepared(self, batch: Batch) -> Part:
        """The step of all members for batches of one shape, one part for each chunk."""
        parts: list[Part] = []
        captured: dict[int, Step] = {}
        with kept(self.buffers):  # preparing may run steps
            for start, stop in self._chunks():
                inputs = (*self.sliced(start, stop), sliced(self._teacher_state, start, stop))
                if stop - start not in captured:
                    captured[stop - start] = self.execution.captured(self._step, *inputs, sliced(batch, start, stop))
                parts.append(partial(_run_chunk, captured[stop - start], inputs, start, stop))
            return self.execution.prepared(parts, batch)


def _evaluation(forward: Callable[..., Tensor]) -> Step:
    """A step that trains nothing: logits of the same images `[1, n, channels, height, width]` for all members."""

    def step(parameters: State, buffers: State, teachers: State, batch: Batch) -> tuple[State, Tensor]:
        members = len(next(iter(parameters.values())))
        same = batch[IMAGES].clone().expand(members, *batch[IMAGES].shape[1:])  # a network may change its input
        return {}, forward(parameters, buffers, same, training=False, exact=True)

    return step


def _run_chunk(
    step: Step, inputs: tuple[State, State, State], start: int, stop: int, batch: Batch
) -> tuple[State, Tensor]:
    gradients, logits = step(*inputs, sliced(batch, start, stop))
    return {name: _laid_out_as(inputs[0][name], gradient) for name, gradient in gradients.items()}, logits


def _laid_out_as(parameter: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the memory layout of its parameter, which fused optimizers assume."""
    if parameter.is_contiguous():
        return gradient.contiguous()
    return gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
