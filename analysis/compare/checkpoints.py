"""Weights from files, and modules that take them; nothing that a file could execute is ever executed.

Two formats: safetensors, and what torch.save writes, read by torch's restricted reader (`weights_only=True`), which
makes tensors, numbers, strings and plain containers and refuses everything else. A training's usual wrappings are
undone: the state dict under a key of a larger checkpoint, and what DataParallel, torch.compile and averaged models put
before the names.
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

Weights = dict[str, Tensor]

KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
"""Where training scripts put a state dict within a checkpoint."""
PREFIXES = ("module.", "model.", "net.")
"""What wrappers (DataParallel, Lightning modules) put before every name."""
COMPILED = "_orig_mod"
"""What torch.compile puts into the names of what it compiles, a network or a part of one."""
COUNTER = "n_averaged"
"""A buffer of torch.optim.swa_utils.AveragedModel, beside the model that it wraps."""
NAMED = 3
"""Names that one message lists."""


def read_weights(path: str | Path, key: str | None = None) -> Weights:
    """The tensors of a file, on the CPU, by the names that they have in it.

    Args:
        path: `.safetensors`, or anything that torch.save wrote.
        key: Which entry of the checkpoint is the state dict, dots between nested ones; found by itself where exactly
            one of `KEYS` holds tensors.

    Raises:
        UserError: if the file cannot be read, holds more than tensors and plain containers, or no state dict.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: is a directory without model.json; allowed: a file, or models/<model_id> of a run")
    content = _safetensors(path) if path.suffix == ".safetensors" else _saved_by_torch(path)
    found = _at(content, key, path) if key else _state_dict(content, path)
    weights = {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
    if not weights:
        raise UserError(f"{path}: there are no tensors in it; allowed: a state dict, name by name")
    return weights


def load_weights(network: nn.Module, weights: Weights, source: str | Path) -> None:
    """Put `weights` into `network`, all of them and nothing left as it was; float64 weights make it float64.

    Names that share one tensor may be stored once (as safetensors' save_model does).

    Raises:
        UserError: naming `source` and the first layer, in the network's own order, that differs.
    """
    expected = network.state_dict()
    given = _completed(_renamed(weights, expected), expected)
    for name, tensor in expected.items():
        if not isinstance(tensor, Tensor):
            continue
        if name not in given:
            others = [other for other in given if other not in expected]
            instead = f"; only in the checkpoint: {_listed(others)}" if others else ""
            raise UserError(
                f"{source}: does not fit the model: the first layer that differs is {name}, "
                f"{_shape(tensor)} in the model and missing in the checkpoint{instead}"
            )
        if given[name].shape != tensor.shape:
            raise UserError(
                f"{source}: does not fit the model: the first layer that differs is {name}, "
                f"{_shape(given[name])} in the checkpoint and {_shape(tensor)} in the model"
            )
    unknown = [name for name in given if name not in expected]
    if unknown:
        raise UserError(
            f"{source}: does not fit the model, which has no {_listed(unknown)}; "
            f"the {len(expected)} names of the model are all there"
        )
    if any(tensor.dtype == torch.float64 for tensor in given.values()):
        network.double()
    network.load_state_dict(given)


def _safetensors(path: Path) -> Mapping[Any, Any]:
    try:
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError, KeyError, RuntimeError) as error:
        raise UserError(f"{path}: cannot be read as safetensors ({one_line(error)})") from None


def _saved_by_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about old pickle protocols
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused{_culprit(str(error))}; only tensors and plain containers are read, since a pickle can "
            "execute code; allowed: a state dict, at best as safetensors: "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        ) from None
    except Exception as error:  # a damaged file makes the reader raise anything
        raise UserError(
            f"{path}: not a file that torch.save wrote ({one_line(error)}); allowed: that, or .safetensors"
        ) from None


def _culprit(message: str) -> str:
    """What torch's reader stumbled over, out of its page of advice."""
    for marker in ("Unsupported global: GLOBAL ", "Unsupported class ", "Trying to load unsupported GLOBAL "):
        if marker in message:
            return f": it holds {message.split(marker, 1)[1].split()[0].rstrip('.')}"
    return ": it is no plain state dict"


def _state_dict(content: Any, path: Path) -> Mapping[Any, Any]:
    """The mapping from names to tensors within what a file holds."""
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds {type(content).__name__}; allowed: a state dict, or a checkpoint with one")
    candidates = [key for key in KEYS if _holds_tensors(content.get(key))]
    if len(candidates) == 1:
        return _state_dict(content[candidates[0]], path)
    if candidates:
        raise UserError(
            f"{path}: holds several state dicts: {', '.join(candidates)}; choose one with --weights-key {candidates[0]}"
        )
    if any(isinstance(value, Tensor) for value in content.values()):
        return content
    names = ", ".join(map(str, list(content)[:8])) or "nothing"
    raise UserError(f"{path}: holds no state dict, but {names}; name its entry with --weights-key")


def _holds_tensors(value: Any) -> bool:
    """Whether a value is a mapping with tensors in it, or with such a mapping under one of `KEYS`."""
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(entry, Tensor) for entry in value.values()) or any(
        _holds_tensors(value.get(key)) for key in KEYS
    )


def _at(content: Any, key: str, path: Path) -> Mapping[Any, Any]:
    for part in key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            names = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
            raise UserError(f"--weights-key: {key}: {path} has no entry {part}; allowed: {names}")
        content = content[part]
    if not isinstance(content, Mapping):
        raise UserError(f"--weights-key: {key}: holds {type(content).__name__} in {path}; allowed: a state dict")
    return content


def _renamed(weights: Weights, expected: Mapping[str, Any]) -> Weights:
    """The weights without the prefixes that every name has and the network does not know."""
    weights = {name if name in expected else _uncompiled(name): tensor for name, tensor in weights.items()}
    while not _fit(weights, expected):
        wrapped = {name: tensor for name, tensor in weights.items() if name != COUNTER}
        prefix = next((p for p in PREFIXES if wrapped and all(name.startswith(p) for name in wrapped)), None)
        if prefix is None:
            break
        weights = {name.removeprefix(prefix): tensor for name, tensor in wrapped.items()}
    return weights


def _uncompiled(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != COMPILED)


def _fit(weights: Weights, expected: Mapping[str, Any]) -> bool:
    return any(name in expected for name in weights)


def _completed(weights: Weights, expected: Mapping[str, Any]) -> Weights:
    """The weights, and those that the network shares with one that is there under another name."""
    there = {
        _place(tensor): name for name, tensor in expected.items() if name in weights and isinstance(tensor, Tensor)
    }
    shared = {
        name: weights[there[_place(tensor)]]
        for name, tensor in expected.items()
        if isinstance(tensor, Tensor) and name not in weights and tensor.numel() and _place(tensor) in there
    }
    return weights | shared


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
