"""Is a captured step what ordinary modules compute? It is run beside them, and their results are compared.

A captured step is a list of tensor operations. It lacks what a module's Python code does besides: drawing random
numbers, counting, deciding by values, calling hooks. No list of such cases is complete, so results are compared.
"""

from __future__ import annotations

import collections
import inspect
import pickle
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from logging import Logger
from types import CodeType, FunctionType, GeneratorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from dbviz_ray.config.seeds import torch_generator
from dbviz_ray.training.gradients import IMAGES, LABELS, Batch, State
from dbviz_ray.training.states import sliced

if TYPE_CHECKING:
    from dbviz_ray.training.execution import Part
    from dbviz_ray.training.network import CohortNetwork

PRECISION = 1e-9
"""The largest relative difference of float64 results."""
GROSS = 0.3
"""The largest relative difference of results as they run in training."""
IMAGES_COMPARED = 16
GRADIENTS, PREDICTIONS = "gradients of", "its predictions"
SPREAD = 0.05
"""Weights are moved by this share of their spread, so that no branch stays switched off by a zero."""
_DEPTH = 4
"""How deep attributes are compared."""
LIBRARIES = sys.stdlib_module_names | {"torch", "numpy"}
"""Packages whose code is no user's."""
CODE = (FunctionType, MethodType, type, staticmethod, classmethod, property)
CHANGED: set[str] = set()
"""Variables that networks of this process have changed; their first values are lost."""


class StepsDifferError(Exception):
    """A network's step cannot be captured, or the captured step differs from the ordinary one; the text says why."""


@torch.no_grad()
def verify(network: CohortNetwork, batch: Batch) -> None:
    """Raise StepsDifferError unless two steps of `network` are those of ordinary modules; changes its state.

    All its members are one stack in float64, where rounding hides nothing. The steps are on different batches, from
    weights at which no branch of a network is switched off. Every logit, gradient and buffer must agree.
    """
    generator = torch_generator(network.device, "verification", 0)
    for parameter in network.parameters.values():
        spread = parameter.std() if parameter.numel() > 1 else parameter.abs().mean()
        noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype, device=parameter.device)
        parameter += SPREAD * (spread + 0.1) * noise
    some = {name: tensor[:, :IMAGES_COMPARED] for name, tensor in batch.items()}
    flipped = {name: tensor.flip(1) if name in (IMAGES, LABELS) else tensor for name, tensor in some.items()}
    other = {**flipped, IMAGES: 1.5 * flipped[IMAGES] + 0.2}  # brighter, in another order
    for captured, right in _both_results(network, [some, other]):
        _compare(captured, right, PRECISION)


@torch.no_grad()
def verify_execution(network: CohortNetwork, run: Part, batch: Batch) -> None:
    """Raise StepsDifferError if `run`, the step as it runs in training, differs grossly on this batch; changes buffers.

    There a ReLU at zero may fall to either side, so only differences as large as the numbers themselves count.
    """
    for captured, right in _both_results(network, [batch], run):
        gradients = [name for name in captured if name.startswith(GRADIENTS)]
        for result in (captured, right):
            result["all gradients"] = torch.cat([result.pop(name).flatten() for name in gradients])
        _compare(captured, right, GROSS)


def _both_results(
    network: CohortNetwork, batches: Sequence[Batch], run: Part | None = None
) -> Iterator[tuple[State, State]]:
    """What the captured step and ordinary modules compute, for the first and the last member."""
    members, images = sorted({0, network.members - 1}), batches[0][IMAGES][0]
    expected: list[State] = []
    for member in members:
        ordinary = network.ordinary(member)
        own = [sliced(whole, member, member + 1) for whole in batches]
        predictions = ordinary.predict(images)
        expected += _results(ordinary.backward, ordinary.buffers, own, [0])
        expected[-1] |= {PREDICTIONS: predictions[0]}
        if ordinary.changed():
            raise StepsDifferError(f"its forward pass changes the attribute {min(ordinary.changed())}")
        if ordinary.draws:
            raise StepsDifferError("its passes draw random numbers themselves")
        if network.decays and ordinary.idle[0]:
            raise StepsDifferError(f"weight decay would change {min(ordinary.idle[0])}, which the loss does not use")
    predictions = network.predict(images)  # before tracing leaves tensors without numbers in a network
    found = _results(run or network.prepare(batches[0]), network.buffers, batches, members)
    for member, result in zip(members, found, strict=True):
        result[PREDICTIONS] = predictions[member]
    return zip(found, expected, strict=True)


def _results(backward: Part, buffers: State, batches: Sequence[Batch], places: Sequence[int]) -> list[State]:
    """All that one step for each batch computes, by name, for the members at these places."""
    found: list[State] = [{} for _ in places]
    for step, batch in enumerate(batches):
        with torch.enable_grad():
            gradients, logits = backward({name: tensor.clone() for name, tensor in batch.items()})
        named = {"its logits": logits} | {f"{GRADIENTS} {name}": tensor for name, tensor in gradients.items()}
        named |= {f"the buffer {name}": tensor for name, tensor in buffers.items()}
        for own, place in zip(found, places, strict=True):
            own |= {f"{name} in step {step + 1}": tensor[place].detach().clone() for name, tensor in named.items()}
    return found


def _compare(captured: State, ordinary: State, precision: float) -> None:
    """StepsDifferError at the first tensor that differs by more than `precision` times its norm."""
    scale = max(norm(tensor) for tensor in ordinary.values())
    for name, right in ordinary.items():
        if name not in captured:  # a dropout mask
            continue
        difference = norm(_numbers(captured[name]) - _numbers(right))
        # A gradient that is zero but for rounding, as that of a bias in front of batch norm, has no size of its own.
        if difference > precision * (norm(right) + scale / 1000):
            share = 100 * difference / max(norm(right), difference)
            raise StepsDifferError(f"{name} differ from those of ordinary PyTorch by {share:.2g} %")


def norm(tensor: Tensor) -> float:
    """The norm of the finite values."""
    return float(torch.nan_to_num(_numbers(tensor), 0, 0, 0).norm())


def _numbers(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor).double() if tensor.is_complex() else tensor.double()


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    """The names whose values differ."""
    return {name for name in before.keys() | now.keys() if before.get(name, ...) != now.get(name, ...)}


def check_unchanged(network: nn.Module, before: Mapping[str, Any]) -> None:
    """ValueError if the variables around `network`, which is never called, are not as in its `attributes` of `before`.

    All networks of a process share them: one would be trained with what another has left.
    """
    now = attributes(network)
    CHANGED.update(changed(before, now))
    if found := CHANGED & now.keys():
        raise ValueError(f"its code changes {min(found)}, which trainings share; keep it in the network, as a buffer")


def attributes(network: nn.Module) -> dict[str, Any]:
    """What a module holds and uses outside of its parameters and buffers, in a form that can be compared, by name."""
    state = {id(tensor): name for name, tensor in [*network.named_parameters(), *network.named_buffers()]}
    own, held = vars(nn.Module()), _around(network)
    for path, module in network.named_modules():
        held |= {f"{path}.{name}": value for name, value in _held_by(module).items() if name not in own}
    return {name.removeprefix("."): _comparable(value, state, _DEPTH) for name, value in held.items()}


def _held_by(value: Any) -> dict[str, Any]:
    """The attributes of an object, those in slots too; the variables of a generator."""
    if isinstance(value, GeneratorType):
        return inspect.getgeneratorlocals(value)
    state = object.__getstate__(value)
    parts = state if isinstance(state, tuple) else (state,)
    return {name: held for part in parts for name, held in (part or {}).items()}


def _around(network: nn.Module) -> dict[str, Any]:
    """The class attributes, and the variables outside of functions, that a user's code uses."""
    todo: list[Any] = [kind for module in network.modules() for kind in type(module).__mro__]
    for module in network.modules():
        registered = [own for name, own in vars(module).items() if name.endswith("_hooks") and isinstance(own, Mapping)]
        todo += [hook for hooks in registered for hook in hooks.values()]
    seen, found = set[int](), dict[str, Any]()
    while todo:
        code: Any = todo.pop()
        code = code.fget if isinstance(code, property) else getattr(code, "__func__", code)
        is_code = isinstance(code, FunctionType | type) and code.__module__.partition(".")[0] not in LIBRARIES
        if not is_code or id(code) in seen:
            continue
        seen.add(id(code))
        for name, value in _used_by(code).items():
            if isinstance(value, CODE):
                todo.append(value)
            elif isinstance(value, nn.Module):
                found |= {f"{name}.{inner}": tensor for inner, tensor in value.state_dict().items()}
            else:
                found[name if "." in name else f"{code.__module__}.{code.__qualname__}.{name}"] = value
    return found


def _used_by(function: Any) -> dict[str, Any]:
    """The variables outside of a function, also of modules, and its defaults and attributes; those of a class."""
    if isinstance(function, type):
        return {name: own for name, own in vars(function).items() if isinstance(own, CODE) or name[:2] != "__"}
    names, codes = set[str](), [function.__code__]
    while codes:
        code = codes.pop()
        names |= set(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]  # functions within it
    used = {f"{function.__module__}.{name}": function.__globals__[name] for name in names & function.__globals__.keys()}
    for place, module in list(used.items()):
        if isinstance(module, ModuleType) and module.__name__.partition(".")[0] not in LIBRARIES:
            used |= {f"{place}.{name}": vars(module)[name] for name in names & vars(module).keys()}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable that has no value yet
            used[name] = cell.cell_contents
    defaults = {f"default {place}": value for place, value in enumerate(function.__defaults__ or ())}
    return {**used, **defaults, **(function.__kwdefaults__ or {}), **vars(function)}


def _comparable(value: Any, state: Mapping[int, str], depth: int) -> Any:
    """Values of plain types, of tensors and arrays, and of objects that hold these; else the type."""
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
        return repr(value)
    if isinstance(value, Tensor):
        if id(value) in state:
            return state[id(value)]
        # A tensor with a history follows from the parameters; tracing leaves tensors that hold no numbers.
        if value.grad_fn is not None or isinstance(value, FakeTensor):
            return "computed"
        with suppress(RuntimeError):
            numbers = value.detach().to_dense().cpu().resolve_conj().reshape(-1)
            return str(value.dtype), tuple(value.shape), numbers.view(torch.uint8).numpy().tobytes()
        return "traced"
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, Iterator | random.Random | np.random.Generator | np.random.RandomState | torch.Generator):
        with suppress(Exception):
            return pickle.dumps(value)
    library = type(value).__module__.partition(".")[0] in LIBRARIES
    is_block = library and isinstance(value, AbstractContextManager)  # such as autocast, which notes what was before
    if isinstance(value, nn.Module | type | ModuleType | Logger) or is_block or depth == 0:
        return (value if isinstance(value, type) else type(value)).__qualname__
    if isinstance(value, Mapping):
        return [(str(key), _comparable(inner, state, depth - 1)) for key, inner in value.items()]
    if isinstance(value, list | tuple | set | frozenset | collections.deque):
        return [_comparable(inner, state, depth - 1) for inner in value]
    held = _held_by(value)
    # Other objects, such as itertools.count, may show their state in words.
    return type(value).__qualname__, _comparable(held, state, depth - 1) if held else repr(value).partition(" at 0x")[0]
