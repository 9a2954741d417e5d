"""Networks of one shape as one: their forward pass and their gradients, side by side.

`StackedNetwork` stacks the parameters of its members (`torch.func.stack_module_state`), maps the forward pass
over them (`vmap`) and captures forward and backward once per batch shape as a flat list of tensor operations,
so that neither vmap nor autograd costs anything per step. The idea of training arrays of models is that of HFTA
(Wang et al., MLSys 2021, arXiv 2102.02344). `SingleNetwork` is an ordinary module behind the same interface, for
a cohort of one, where vmap would only cost.

Loss: the sum over members of the mean cross-entropy of each, so that every member's gradient is its own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

from dbviz_ray.captured import simplified

State = dict[str, Tensor]


class CohortNetwork(Protocol):
    """Networks of one shape. `parameters` and `buffers` hold tensors `[members, ...]` by name."""

    parameters: State
    """What is trained; frozen parameters stand among the buffers."""
    buffers: State
    state_names: dict[str, str]
    """The names in a member's `state_dict`, and those of the tensors above that they stand for."""

    def backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """Leave every member's gradient in `.grad` of the parameters; return logits `[members, batch, classes]`.

        Images `[members, batch, channels, height, width]`, labels int64 `[members, batch]`; training mode.
        """

    def predict(self, images: Tensor) -> Tensor:
        """Logits `[members, n, classes]` of the same images `[n, channels, height, width]`; evaluation mode."""


def stack(networks: Sequence[nn.Module], autocast: torch.dtype | None = None) -> CohortNetwork:
    """The networks (of one shape, on one device) as a cohort; `autocast` computes in a lower precision."""
    if len(networks) == 1:
        return SingleNetwork(networks[0], autocast)
    return StackedNetwork(networks, autocast)


def member_state(network: CohortNetwork, member: int) -> State:
    """Parameters and buffers of one member, as its own `state_dict` would hold them."""
    tensors = network.parameters | network.buffers
    return {key: tensors[name][member].detach().clone() for key, name in network.state_names.items()}


class StackedNetwork:
    """Two or more networks trained as one."""

    def __init__(self, networks: Sequence[nn.Module], autocast: torch.dtype | None = None) -> None:
        parameters, buffers = stack_module_state(list(networks))
        frozen = {name for name, parameter in networks[0].named_parameters() if not parameter.requires_grad}
        self.parameters: State = {name: p.detach() for name, p in parameters.items() if name not in frozen}
        self.buffers: State = buffers | {name: parameters[name].detach() for name in frozen}
        self.state_names = _state_names(networks[0])
        self._skeleton = copy.deepcopy(networks[0])  # not on the meta device: moving there would untie weights
        self._autocast = _autocast(autocast, next(iter(self.parameters.values())).device)
        self._captured: dict[torch.Size, GraphModule] = {}

    def backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `CohortNetwork.backward`."""
        step = self._captured.get(images.shape)
        if step is None:
            step = self._captured[images.shape] = self._capture(images, labels)
        gradients, logits = step(self.parameters, self.buffers, images, labels)
        for name, parameter in self.parameters.items():
            # Fused optimizers take it for granted that a gradient lies in memory as its parameter does.
            parameter.grad = gradients[name].contiguous()
        return logits  # type: ignore[no-any-return]

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """See `CohortNetwork.predict`."""
        self._skeleton.eval()
        with self._autocast():
            return vmap(self._forward, in_dims=(0, 0, None))(self.parameters, self.buffers, images)

    def _forward(self, parameters: State, buffers: State, images: Tensor) -> Tensor:
        return functional_call(self._skeleton, (parameters, buffers), (images,))  # type: ignore[no-any-return]

    def _capture(self, images: Tensor, labels: Tensor) -> GraphModule:
        def loss_and_logits(parameters: State, buffers: State, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
            with self._autocast():
                logits = vmap(self._forward)(parameters, buffers, images)
            return _loss(logits, labels), logits

        def step(parameters: State, buffers: State, images: Tensor, labels: Tensor) -> tuple[State, Tensor]:
            return grad(loss_and_logits, has_aux=True)(parameters, buffers, images, labels)  # type: ignore[no-any-return]

        self._skeleton.train()
        # Tracing runs the step, which would move batch-norm statistics once too often: it gets copies.
        buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        return simplified(make_fx(step)(self.parameters, buffers, images, labels))


class SingleNetwork:
    """One ordinary module behind the interface of a cohort."""

    def __init__(self, network: nn.Module, autocast: torch.dtype | None = None) -> None:
        self._network = network
        self._own = {name: p for name, p in network.named_parameters() if p.requires_grad}
        frozen = {name: p for name, p in network.named_parameters() if not p.requires_grad}
        # Views with a leading member dimension of one share their storage with the module's own tensors.
        self.parameters: State = {name: p.detach()[None] for name, p in self._own.items()}
        self.buffers: State = {name: b.detach()[None] for name, b in [*network.named_buffers(), *frozen.items()]}
        self.state_names = _state_names(network)
        self._autocast = _autocast(autocast, next(iter(self._own.values())).device)

    def backward(self, images: Tensor, labels: Tensor) -> Tensor:
        """See `CohortNetwork.backward`."""
        if not self._network.training:
            self._network.train()
        for own in self._own.values():
            own.grad = None
        with self._autocast():
            logits = self._network(images[0])[None]
        _loss(logits, labels).backward()
        for name, own in self._own.items():
            self.parameters[name].grad = None if own.grad is None else own.grad[None]
        return logits.detach()  # type: ignore[no-any-return]

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """See `CohortNetwork.predict`."""
        self._network.eval()
        with self._autocast():
            return self._network(images)[None]  # type: ignore[no-any-return]


def _state_names(network: nn.Module) -> dict[str, str]:
    """Names in the state_dict, which leaves out what is not persistent and names tied tensors more than once."""
    first_names = {id(tensor): name for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    return {key: first_names[id(tensor)] for key, tensor in network.state_dict(keep_vars=True).items()}


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum over members of the mean cross-entropy; the class dimension second, which is 4 times faster on CPUs."""
    at_least_single = logits.to(torch.promote_types(logits.dtype, torch.float32))
    losses = F.cross_entropy(at_least_single.transpose(1, 2), labels, reduction="sum")
    return losses / labels.shape[1]


def _autocast(dtype: torch.dtype | None, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    return nullcontext if dtype is None else partial(torch.autocast, device.type, dtype)
