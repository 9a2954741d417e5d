"""Read weights from files and load them into networks; no code in a file is ever executed.

A file is safetensors, or was written by torch.save. torch's restricted reader (`weights_only=True`) makes tensors,
numbers, strings and plain containers of the latter and refuses everything else. Usual wrappings are undone: a state
dict under a key of a larger checkpoint, and whatever prefix the names have (DataParallel, Lightning, torch.compile).
"""

from __future__ import annotations

import pickle
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dbviz_ray.errors import UserError, one_line
from dbviz_ray.formatting import listed

Weights = dict[str, Tensor]

KEYS = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights")
"""Keys under which training scripts put a state dict."""
AVERAGED_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema")
"""Keys of weights that are averaged over the training, which lie beside those above."""
COMPILED = "_orig_mod"
"""A part of names in a network, or part of one, that torch.compile has compiled."""
OPTIONAL = "num_batches_tracked"
"""A buffer of batch norm that files from before torch 0.4.1 lack; `load_state_dict` does without it."""
NAMED = 3
"""Most names in a message."""


def read_weights(path: str | Path, key: str | None = None) -> Weights:
    """The tensors of a file on the CPU, by their names in the file.

    `key` is the entry of the checkpoint that is the state dict, with dots between nested entries, or a prefix of names
    if it ends with a dot. Without it, the state dict is found if one of `KEYS` and `AVERAGED_KEYS` holds tensors.
    UserError if the file cannot be read, holds more than tensors and plain containers, or no state dict.
    """
    path = Path(path)
    if path.is_dir():
        reason = "is a directory without model.json"
        raise UserError(str(path), reason=reason, allowed="a file, or models/<model_id> of a run")
    content = _safetensors(path) if path.suffix == ".safetensors" else _saved_by_torch(path)
    found = _entry(content, key, path) if key and not key.endswith(".") else _state_dict(content, path)
    weights = {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
    if key and key.endswith("."):
        weights = {name.removeprefix(key): tensor for name, tensor in weights.items() if name.startswith(key)}
    if not weights:
        raise UserError(str(path), reason="holds no tensors", allowed="a state dict")
    return weights


def load_weights(network: nn.Module, weights: Weights, source: str | Path, built: str = "") -> None:
    """Load `weights` into `network`, as strictly as `load_state_dict`. float64 weights make the network float64.

    If the names have a prefix under which all of the network's names and shapes are there, what lies beside it is left
    out. Names that share one tensor may be stored once (as safetensors' save_model does).

    Raises:
        UserError: about the file `source` if they do not match; it names the first layer, in the network's own order,
            that differs, and says how the network was `built`. About `weights_key` if several prefixes fit.
    """

    def misfit(difference: str) -> UserError:
        return UserError(str(source), reason=f"does not fit the model: {difference}")

    expected = {
        name: tensor
        for name, tensor in network.state_dict().items()
        if isinstance(tensor, Tensor) and not is_lazy(tensor)
    }
    plain = {_uncompiled(name): tensor for name, tensor in weights.items()}
    if len(plain) < len(weights):
        raise misfit(f"it holds weights with and without {COMPILED} under one name")
    given = _without_prefix(plain, expected, source)
    for names in _tied(expected):
        stored = [name for name in names if name in given]
        if any(not torch.equal(given[stored[0]], given[name]) for name in stored[1:]):
            raise misfit(f"{listed(stored, NAMED)} are one tensor in the model, and differ in the checkpoint")
        given |= {name: given[stored[0]] for name in names if stored}
    if any(tensor.dtype == torch.float64 for tensor in given.values()):
        network.double()
    try:
        network.load_state_dict(given)
    except RuntimeError as error:
        raise misfit(_first_difference(given, expected, built) or one_line(error)) from None


def _first_difference(given: Weights, expected: Weights, built: str) -> str:
    """The first tensor of a network that its weights lack or have with another shape; "" if there is none."""
    of_model = f"in the model{f' ({built})' if built else ''}"
    for name, tensor in expected.items():
        shape = tuple(tensor.shape)
        if name not in given and not name.endswith(OPTIONAL):
            others = [other for other in given if other not in expected]
            instead = f"; only in the checkpoint: {listed(others, NAMED)}" if others else ""
            return f"first difference: {name} is {shape} {of_model} and missing in the checkpoint{instead}"
        if name in given and given[name].shape != tensor.shape:
            return f"first difference: {name} is {tuple(given[name].shape)} in the checkpoint and {shape} {of_model}"
    unknown = [name for name in given if name not in expected]
    if not unknown:
        return ""
    return f"only in the checkpoint: {listed(unknown, NAMED)}; all {len(expected)} names of the model match"


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
    candidates = [key for key in (*KEYS, *AVERAGED_KEYS) if _holds_tensors(content.get(key))]
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


def _without_prefix(weights: Weights, expected: Weights, source: str | Path) -> Weights:
    """The weights under the one prefix that fits, without it; if none fits, under the one that has most names."""
    matches = Counter(
        weight.removesuffix(name)
        for weight in weights
        for name in expected
        if weight == name or weight.endswith(f".{name}")
    )
    fitting = [prefix for prefix in matches if _fits(prefix, weights, expected)]
    if len(fitting) > 1:
        allowed = ", ".join(prefix or "no prefix" for prefix in fitting)
        raise UserError("weights_key", reason=f"missing, and {source} holds several sets of weights", allowed=allowed)
    prefix = max(fitting or matches, key=matches.__getitem__, default="")
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def _fits(prefix: str, weights: Weights, expected: Weights) -> bool:
    """Whether all of a network's tensors are there under a prefix."""
    return all(
        any((there := weights.get(prefix + name)) is not None and there.shape == expected[name].shape for name in names)
        or names[0].endswith(OPTIONAL)
        for names in _tied(expected)
    )


def _tied(expected: Weights) -> list[list[str]]:
    """Names of a network's tensors; those that share one stand together."""
    by_place: dict[tuple[object, ...], list[str]] = {}
    for name, tensor in expected.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else (name,)
        by_place.setdefault(place, []).append(name)
    return list(by_place.values())


def _uncompiled(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != COMPILED)
