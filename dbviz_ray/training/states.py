"""The tensors of networks of one shape, stacked by name."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.gradients import State


@dataclass(frozen=True)
class Manner:
    """How members are computed. Another manner rounds differently."""

    stack: int
    """So many as one network; 0: as ordinary modules."""
    compiled: bool = False
    channels: int = 0
    """See `dbviz_ray.training.execution.Eager.channels`."""


class MemberStates:
    """The tensors of networks of one shape, stacked by name."""

    parameters: State
    """Trained parameters `[members, ...]` by name; frozen ones are among the buffers."""
    buffers: State
    state_names: dict[str, str]
    """From the names in a member's `state_dict` to the names of the tensors above."""
    device: torch.device
    manner: Manner
    idle: Sequence[Collection[str]] = ()
    """For each member the parameters that its last step did not use, which an optimizer leaves as they are."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        """ValueError without a trained parameter, or if a state_dict holds anything but parameters and buffers."""
        first = networks[0]
        self.members = len(networks)
        first_names = {id(tensor): name for name, tensor in [*first.named_parameters(), *first.named_buffers()]}
        state = first.state_dict(keep_vars=True)  # without non-persistent buffers; tied tensors under every name
        if strange := [key for key, tensor in state.items() if id(tensor) not in first_names]:
            raise ValueError(f"its state_dict holds {strange[0]}, which is none of its parameters and buffers")
        self.state_names = {key: first_names[id(tensor)] for key, tensor in state.items()}
        stacked = _stacked([dict(network.named_parameters()) for network in networks])
        buffers = _stacked([dict(network.named_buffers()) for network in networks])
        frozen = {name for name, parameter in first.named_parameters() if not parameter.requires_grad}
        self.parameters = {name: parameter for name, parameter in stacked.items() if name not in frozen}
        self.buffers = buffers | {name: stacked[name] for name in frozen}
        if not self.parameters:
            raise ValueError("it has no parameters that training could change")
        self.device = next(iter(stacked.values())).device

    def evaluated(self, member: int, parameters: State, images: Tensor) -> Tensor:
        """One member's logits `[1, n, classes]` with other parameters `[1, ...]`: evaluation mode, no autocast."""
        raise NotImplementedError

    def changed(self) -> set[str]:
        """Attributes that hold state beside these tensors; with any, a training starts again from its beginning."""
        return set()

    def evaluation_gradient(self, member: int, images: Tensor, loss: Callable[[Tensor], Tensor]) -> State:
        """The gradient `[1, ...]` by parameter of a loss of one member's logits `[1, n, classes]`, evaluated."""
        own, _ = self.sliced(member, member + 1)
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in own.items()}
        # torch.func.grad would keep tensors for second derivatives and need twice the memory.
        loss(self.evaluated(member, leaves, images)).backward()
        return {name: torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for name, leaf in leaves.items()}

    def sliced(self, start: int, stop: int) -> tuple[State, State]:
        """Views of some members' parameters and buffers."""
        return sliced(self.parameters, start, stop), sliced(self.buffers, start, stop)

    def member_state(self, member: int) -> State:
        """Copies of one member's tensors, named as in its own `state_dict`."""
        tensors = self.parameters | self.buffers
        own = {key: tensors[name][member].detach() for key, name in self.state_names.items()}
        return {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in own.items()}


def _stacked(members: Sequence[State]) -> State:
    """`torch.func.stack_module_state` refuses members whose class their builder defines anew at every call."""
    return {name: torch.stack([own[name].detach() for own in members]) for name in members[0]}


def lay_out_channels_last(states: MemberStates, network: nn.Module) -> None:
    """Keep the weights of convolutions in the memory layout of channels-last images; `network` is a member.

    Only those of torch's own class: a derived one may take its weight apart.
    """
    for path, module in network.named_modules():
        name = f"{path}.weight".removeprefix(".")
        own = states.parameters if name in states.parameters else states.buffers
        if type(module) is nn.Conv2d and name in own:
            own[name] = own[name].movedim(2, -1).contiguous().movedim(-1, 2)


@contextmanager
def kept(tensors: State) -> Iterator[None]:
    """Within the block these tensors may change; afterwards they hold what they held, in the same memory."""
    before = [(tensor, tensor.data, tensor.detach().clone()) for tensor in tensors.values()]
    try:
        yield
    finally:
        for tensor, data, numbers in before:
            if tensor.data_ptr() != data.data_ptr():
                tensor.data = data
            if not torch.equal(data, numbers):  # a user's memory may be read-only
                data.copy_(numbers)


def sliced(tensors: State, start: int, stop: int) -> State:
    """Views of the tensors of some members."""
    return {name: tensor[start:stop] for name, tensor in tensors.items()}


def autocast_type(settings: TrainingConfig) -> torch.dtype | None:
    """The type that products are computed in, if not that of the weights."""
    return torch.bfloat16 if settings.precision == "bfloat16" else None
