"""Members trained as ordinary PyTorch modules, slower than `CohortNetwork` and right for every module.

A step makes the calls of a plain training loop. The global generators of Python, numpy and torch are seeded for every
pass, so that a module's draws depend on its seed and step alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from dbviz_ray.architectures.outputs import logits_of
from dbviz_ray.config import TrainingConfig
from dbviz_ray.config.seeds import drawing_from
from dbviz_ray.training.gradients import IMAGES, LABELS, SEEDS, START, Batch, State, attacked, perturbed, training_loss
from dbviz_ray.training.layers import MASK, MaskedDropout
from dbviz_ray.training.states import Manner, MemberStates, autocast_type, kept
from dbviz_ray.training.verification import attributes, changed

ORDINARY = 0
"""The stack of members that are not computed as one network, but called as they are."""


class OrdinaryNetwork(MemberStates):
    """Networks that are trained side by side, one call after the other; the arguments are those of `CohortNetwork`.

    The tensors of the networks become views of the stacked state.
    """

    manner = Manner(ORDINARY)

    def __init__(
        self, networks: Sequence[nn.Module], settings: TrainingConfig, limits: Tensor, teachers: Sequence[nn.Module]
    ) -> None:
        super().__init__(networks)
        precision = autocast_type(settings)
        self._autocast: Callable[[], AbstractContextManager[object]] = (
            nullcontext if precision is None else partial(torch.autocast, self.device.type, precision)
        )
        self.draws = False
        """Whether a pass has drawn random numbers."""
        self.idle: list[set[str]] = [set() for _ in networks]
        self._settled: dict[str, Any] | None = None
        self.networks = networks
        self._teachers = teachers
        for teacher in teachers:
            teacher.eval()
        self._settings, self._limits = settings, limits
        self._own = [_tensors(network) for network in networks]
        for member, own in enumerate(self._own):
            for name, tensor in own.items():
                tensor.data = (self.parameters | self.buffers)[name][member]

    def backward(self, batch: Batch) -> tuple[State, Tensor]:
        """Every member's gradients `[members, ...]` by parameter, and logits `[members, n, classes]`."""
        steps = [self._step(member, batch) for member in range(self.members)]
        if self._settled is None:
            self._settled = attributes(self.networks[0])
        gradients = {name: torch.stack([own[name] for own, _ in steps]) for name in self.parameters}
        return gradients, torch.stack([logits for _, logits in steps])

    def changed(self) -> set[str]:
        """See `MemberStates.changed`; since the first step, as values that a module keeps from it on are constants."""
        return set() if self._settled is None else changed(self._settled, attributes(self.networks[0]))

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits `[members, n, classes]` of the same images `[n, channels, height, width]`, in evaluation mode."""
        return torch.cat([self.evaluated(member, {}, images.clone()) for member in range(self.members)])

    def evaluated(self, member: int, parameters: State, images: Tensor) -> Tensor:
        """See `MemberStates.evaluated`. Afterwards the network is in training mode, as modes may change its state."""
        own = self._own[member]
        with kept(own) if parameters else nullcontext(), self._whole_state(member):
            for name, parameter in parameters.items():
                own[name].data.copy_(parameter[0])
            logits = self._called(member, images, training=False)
            self.networks[member].train()
            return logits[None]

    def evaluation_gradient(self, member: int, images: Tensor, loss: Callable[[Tensor], Tensor]) -> State:
        """See `MemberStates.evaluation_gradient`."""

        def loss_and_logits() -> tuple[Tensor, Tensor]:
            logits = self._called(member, images, training=False)
            return loss(logits[None]), logits

        with self._whole_state(member):
            gradients, _ = self._gradients(member, 0, loss_and_logits)
            self.networks[member].train()
        return {name: gradient[None] for name, gradient in gradients.items()}

    def _called(self, member: int, images: Tensor, *, training: bool) -> Tensor:
        network = self.networks[member]
        with self._whole_state(member):
            network.train() if training else network.eval()  # which may return nothing
            return logits_of(network(images))

    def _step(self, member: int, batch: Batch) -> tuple[State, Tensor]:
        """One member's gradients, and its logits `[n, classes]` before any perturbation."""
        images, labels, settings = batch[IMAGES][member], batch[LABELS][member], self._settings
        seed = int(batch[SEEDS][member]) if SEEDS in batch else 0
        for name in batch:
            path, _, last = name.rpartition(".")
            if last == MASK:
                self.networks[member].get_submodule(path)._buffers[MASK] = batch[name][member]

        def loss_and_logits(images: Tensor, training: bool) -> tuple[Tensor, Tensor]:
            with self._autocast():
                logits = self._called(member, images, training=training)
            return training_loss(logits[None], labels[None], taught, settings.distillation), logits

        def gradient_of_images(moved: Tensor) -> Tensor:
            leaf = moved.detach().requires_grad_()
            with drawing_from(seed, images.device):
                return torch.autograd.grad(loss_and_logits(leaf, training=False)[0], leaf)[0]

        taught = None
        if settings.adversary is not None:
            images = attacked(gradient_of_images, images, batch[START][member], settings.adversary, self._limits)
        if self._teachers:
            with torch.no_grad(), self._autocast():
                taught = logits_of(self._teachers[member](images))[None]
        gradients, logits = self._gradients(member, seed, lambda: loss_and_logits(images, training=True))
        if settings.sam_radius:
            own = {name: parameter[member : member + 1] for name, parameter in self.parameters.items()}
            ascent = {name: gradient[None] for name, gradient in gradients.items()}
            with kept(self._own[member]):
                for name, moved in perturbed(own, ascent, settings.sam_radius).items():
                    self._own[member][name].data.copy_(moved[0])
                gradients, _ = self._gradients(member, seed, lambda: loss_and_logits(images, training=True))
        return gradients, logits.detach()

    def _gradients(
        self, member: int, seed: int, loss_and_logits: Callable[[], tuple[Tensor, Tensor]]
    ) -> tuple[State, Tensor]:
        """One member's gradients and logits; what its passes draw, backward too, comes from this seed."""
        own = {name: self._own[member][name] for name in self.parameters}
        for parameter in own.values():
            parameter.grad = None
        with drawing_from(seed, self.device) as drawn:
            loss, logits = loss_and_logits()
            loss.backward()
            self.draws = self.draws or drawn()
        self.idle[member] = {name for name, parameter in own.items() if parameter.grad is None}
        return {name: torch.zeros_like(p) if p.grad is None else p.grad.to_dense() for name, p in own.items()}, logits

    @contextmanager
    def _whole_state(self, member: int) -> Iterator[None]:
        """Copy tensors that the module assigns anew, or their data, back to the stacked state."""
        yield
        network, state = self.networks[member], self.parameters | self.buffers
        own = {id(tensor) for tensor in self._own[member].values()}
        for name, tensor in self._own[member].items():
            assigned, whole = attrgetter(name)(network), state[name][member]
            if assigned is not tensor and id(assigned) in own:
                raise ValueError(f"its tensor {name} gets another name in the forward pass")
            if assigned is None or assigned.shape != whole.shape:
                raise ValueError(f"its tensor {name} changes its shape in the forward pass")
            if assigned.data_ptr() != whole.data_ptr():
                tensor.data = whole.copy_(assigned.detach())
                parent, _, last = name.rpartition(".")
                setattr(attrgetter(parent)(network) if parent else network, last, tensor)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of a module, each under its first name, without dropout masks."""
    masks = {f"{path}.{MASK}" for path, layer in network.named_modules() if isinstance(layer, MaskedDropout)}
    own: dict[str, Tensor] = dict(network.named_parameters()) | dict(network.named_buffers())
    return {name: tensor for name, tensor in own.items() if name not in masks}
