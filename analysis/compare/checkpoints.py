"""Read weights from files and load them into networks; no code in a file is ever executed.

A file is safetensors, or was written by torch.save. torch's restricted reader (`weights_only=True`) makes tensors,
numbers, strings and plain containers of the latter and refuses everything else. The usual wrappings are undone: a state
dict under a key of a larger checkpoint, and the prefixes of DataParallel, torch.compile and averaged models.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from dbviz_ray.errors import UserError, one_line
from dbviz_ray.formatting import listed

Weights = dict[str, Tensor]

KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
"""Keys under which training scripts put a state dict."""
PREFIXES = ("module.", "model.", "net.")
"""Prefixes of wrappers: DataParallel, Lightning modules."""
COMPILED = "_orig_mod"
"""A part of names in a network, or part of one, that torch.compile has compiled."""
COUNTER = "n_averaged"
"""A buffer of torch.optim.swa_utils.AveragedModel, beside the model that it wraps."""
NAMED = 3
"""Most names in a message."""


def read_weights(path: str | Path, key: str | None = None) -> Weights:
    """The tensors of a file on the CPU, by their names in the file.

    `key` is the entry of the checkpoint that is the state dict, with dots between nested entries. Without it, the state
    dict is found if exactly one of `KEYS` holds tensors. UserError if the file cannot be read, holds more than tensors
    and plain containers, or no state dict.
    """
    path = Path(path)
    if path.is_dir():
        reason = "is a directory without model.json"
        raise UserError(str(path), reason=reason, allowed="a file, or models/<model_id> of a run")
    content = _safetensors(path) if path.suffix == ".safetensors" else _saved_by_torch(path)
    found = _entry(content, key, path) if key else _state_dict(content, path)
    weights = {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
    if not weights:
        raise UserError(str(path), reason="holds no tensors", allowed="a state dict")
    return weights


def load_weights(network: nn.Module, weights: Weights, source: str | Path, built: str = "") -> None:
    """Load `weights` into `network`; every tensor of both must match. float64 weights make the network float64.

    Names that share one tensor may be stored once (as safetensors' save_model does). UserError about the file `source`
    if they do not match; it names the first layer, in the network's own order, that differs, and says how the network
    was `built`.
    """
    expected = {name: tensor for name, tensor in network.state_dict().items() if isinstance(tensor, Tensor)}
    given = _completed(_renamed(weights, expected), expected)
    of_model = f"in the model{f' ({built})' if built else ''}"

    def misfit(difference: str) -> UserError:
        return UserError(str(source), reason=f"does not fit the model: {difference}")

    for name, tensor in expected.items():
        if name not in given:
            others = [other for other in given if other not in expected]
            instead = f"; only in the checkpoint: {listed(others, NAMED)}" if others else ""
            shape = tuple(tensor.shape)
            raise misfit(f"first difference: {name} is {shape} {of_model} and missing in the checkpoint{instead}")
        if given[name].shape != tensor.shape:
            shapes = tuple(given[name].shape), tuple(tensor.shape)
            raise misfit(f"first difference: {name} is {shapes[0]} in the checkpoint and {shapes[1]} {of_model}")
    unknown = [name for name in given if name not in expected]
    if unknown:
        raise misfit(f"only in the checkpoint: {listed(unknown, NAMED)}; all {len(expected)} names of the model match")
    if any(tensor.dtype == torch.float64 for tensor in given.values()):
        network.double()
    network.load_state_dict(given)


def _safetensors(path: Path) -> Mapping[Any, Any]:
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError, KeyError, RuntimeError) as error:
        raise UserError(str(path), reason=f"cannot be read as safetensors ({one_line(error)})") from None


def _saved_by_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about old pickle protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(str(path), reason=f"cannot be read ({error.strerror or error})") from None
    except pickle.UnpicklingError as error:
        reason = f"refused: it holds {_culprit(str(error))}; reading a pickle can execute code"
        allowed = "a state dict, best written by safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        raise UserError(str(path), reason=reason, allowed=allowed) from None
    except Exception as error:  # a damaged file makes the reader raise anything
        reason = f"cannot be read as a file of torch.save ({one_line(error)})"
        raise UserError(str(path), reason=reason, allowed="that, or .safetensors") from None


def _culprit(message: str) -> str:
    """What torch's reader refused; its long message alone says it."""
    for marker in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        if marker in message:
            return message.split(marker, 1)[1].split()[0].rstrip(".")
    return "more than a state dict"


def _state_dict(content: Any, path: Path) -> Mapping[Any, Any]:
    """The state dict within the content of a file."""
    if not isinstance(content, Mapping):
        reason = f"holds {type(content).__name__}"
        raise UserError(str(path), reason=reason, allowed="a state dict, or a checkpoint with one")
    candidates = [key for key in KEYS if _holds_tensors(content.get(key))]
    if len(candidates) == 1:
        return _state_dict(content[candidates[0]], path)
    if candidates:
        reason = f"missing, and {path} holds several state dicts"
        raise UserError("weights_key", reason=reason, allowed=", ".join(candidates))
    if any(isinstance(value, Tensor) for value in content.values()):
        return content
    names = listed(list(map(str, content)), 8) or "an entry that holds one"
    raise UserError("weights_key", reason=f"missing, and {path} holds no state dict by a usual name", allowed=names)


def _holds_tensors(value: Any) -> bool:
    """Whether a value is a mapping with tensors, or has such a mapping under one of `KEYS`."""
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(entry, Tensor) for entry in value.values()) or any(
        _holds_tensors(value.get(key)) for key in KEYS
    )


def _entry(content: Any, key: str, path: Path) -> Mapping[Any, Any]:
    """The mapping that `key` names, dots between nested keys."""
    for part in key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            names = listed(list(map(str, content)), 8) if isinstance(content, Mapping) else "entries of mappings"
            raise UserError("weights_key", key, reason=f"is not allowed: {path} has no entry {part}", allowed=names)
        content = content[part]
    if not isinstance(content, Mapping):
        reason = f"holds {type(content).__name__} in {path}"
        raise UserError("weights_key", key, reason=reason, allowed="a state dict")
    return content


def _renamed(weights: Weights, expected: Weights) -> Weights:
    """The weights without prefixes that all names have and the network does not."""
    weights = {name if name in expected else _uncompiled(name): tensor for name, tensor in weights.items()}
    while not any(name in expected for name in weights):
        wrapped = {name: tensor for name, tensor in weights.items() if name != COUNTER}
        prefix = next((p for p in PREFIXES if wrapped and all(name.startswith(p) for name in wrapped)), None)
        if prefix is None:
            break
        weights = {name.removeprefix(prefix): tensor for name, tensor in wrapped.items()}
    return weights


def _uncompiled(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != COMPILED)


def _completed(weights: Weights, expected: Weights) -> Weights:
    """The weights, and those that the network has under a second name."""
    stored = {_place(expected[name]): tensor for name, tensor in weights.items() if name in expected}
    shared = {name: stored[_place(tensor)] for name, tensor in expected.items() if _place(tensor) in stored}
    return shared | weights


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()
