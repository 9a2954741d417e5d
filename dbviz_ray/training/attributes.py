"""What a module holds outside of its parameters and buffers: numbers, lists, tensors, generators."""

from __future__ import annotations

import collections
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_DEPTH = 4
"""How deep attributes are compared."""


def attributes(network: nn.Module) -> dict[str, Any]:
    """What a module holds outside of its parameters and buffers, in a form that can be compared, by path."""
    state = {id(tensor): name for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    own = vars(nn.Module())
    found = {}
    for path, module in network.named_modules():
        for name, value in vars(module).items():
            if name not in own:
                found[f"{path}.{name}".removeprefix(".")] = _comparable(value, state, _DEPTH)
    return found


def _comparable(value: Any, state: Mapping[int, str], depth: int) -> Any:
    """Values of plain types, of tensors and arrays, and of objects that hold these; else the type."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        return value
    if isinstance(value, Tensor):
        if id(value) in state:
            return state[id(value)]
        # A tensor with a history follows from the parameters.
        return "computed" if value.grad_fn is not None else _comparable(value.detach().cpu().numpy(), state, depth)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, torch.Generator):
        return value.get_state().numpy().tobytes()
    if isinstance(value, nn.Module) or depth == 0:
        return type(value).__qualname__
    if isinstance(value, Mapping):
        return [(str(key), _comparable(inner, state, depth - 1)) for key, inner in value.items()]
    if isinstance(value, list | tuple | set | frozenset | collections.deque):
        return [_comparable(inner, state, depth - 1) for inner in value]
    return type(value).__qualname__, _comparable(getattr(value, "__dict__", None), state, depth - 1)
