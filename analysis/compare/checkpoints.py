"""Read weights from files and load them into networks; no code in a file is ever executed.

A file is safetensors, or was written by torch.save; or an index names several. Usual wrappings are undone: a state dict
under a key of a larger checkpoint, and whatever prefix the names have (DataParallel, Lightning, torch.compile).
"""

import json
import pickle
import warnings
from collections import ChainMap, Counter
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from textwrap import shorten
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from dbviz_ray.errors import UserError, one_line
from dbviz_ray.formatting import listed

from .checkpoint_files import Inert, kind_of, read_pickled

Weights = dict[str, Any]
"""Tensors by name; `EXTRA` state may be anything."""
EXTRA, INDEX = "_extra_state", ".index.json"
"""Ends of the names of state that is no tensor, and of a file that says which file holds which tensor."""
IN_FOLDERS = tuple(f"{name}{end}" for end in ("", INDEX) for name in ("model.safetensors", "pytorch_model.bin"))
"""Names of weights in the folders of Hugging Face and timm."""
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
STATE_DICT = "a state dict, best written by safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"


def read_weights(path: str | Path, key: str | None = None) -> Weights:
    """The tensors of a file, an index of files or a folder of `IN_FOLDERS`, on the CPU, by their names in the file.

    `key` is the entry of the checkpoint that is the state dict, with dots between nested entries, or a prefix of names
    if it ends with a dot. Without it, the state dict is found if one of `KEYS` and `AVERAGED_KEYS` holds tensors.
    UserError if the file cannot be read or holds no state dict.
    """
    parts = [_content(file) for file in files_of(path)]
    try:
        content = parts[0] if len(parts) == 1 else dict(ChainMap(*(dict(_state_dict(part, path)) for part in parts)))
        found = _state_dict(_entry(content, key, path) if key and not key.endswith(".") else content, path)
        weights = {
            str(name): value
            for name, value in found.items()
            if isinstance(value, Tensor) or (str(name).endswith(EXTRA) and not _holds_inert(value))
        }
    except RecursionError:
        raise UserError(str(path), reason="holds something that holds itself", allowed=STATE_DICT) from None
    if key and key.endswith("."):
        weights = {name.removeprefix(key): tensor for name, tensor in weights.items() if name.startswith(key)}
    if not weights:
        raise UserError(str(path), reason="holds no tensors", allowed=STATE_DICT)
    return weights


def files_of(path: str | Path) -> list[Path]:
    """The files that hold the weights of a checkpoint. UserError for a folder without weights or a missing shard."""
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in IN_FOLDERS if (path / name).exists()), path)
    if path.is_dir():
        allowed = f"a file, models/<model_id> of a run, or a folder with {', '.join(IN_FOLDERS)}"
        raise UserError(str(path), reason="is a folder without weights", allowed=allowed)
    if not path.name.endswith(INDEX):
        return [path]
    try:
        files = [path.parent / shard for shard in sorted(set(json.loads(path.read_text())["weight_map"].values()))]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(str(path), reason=f"is no index of weight files ({one_line(error)})") from None
    missing = [file.name for file in files if not file.exists()]
    if missing or not files:
        raise UserError(str(path), reason=f"names files that are missing: {listed(missing, NAMED) or 'none named'}")
    return files


def _holds_inert(value: Any) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple | set) else ()
    return isinstance(value, Inert) or any(map(_holds_inert, inner))


def load_weights(network: nn.Module, weights: Weights, source: str | Path, built: str = "") -> None:
    """Load `weights` into `network`, as strictly as `load_state_dict`. float64 weights make the network float64.

    If the names have a prefix under which all of the network's names and shapes are there, what lies beside it is left
    out. Names that share one tensor may be stored once (as safetensors' save_model does).

    UserError about the file `source` if they do not match; it names the first layer, in the network's own order, that
    differs, and says how the network was `built`. About `weights_key` if several prefixes fit.
    """

    def misfit(difference: str) -> UserError:
        return UserError(str(source), reason=f"does not fit the model: {difference}")

    state = network.state_dict().items()
    expected = {name: tensor for name, tensor in state if isinstance(tensor, Tensor) and not is_lazy(tensor)}
    plain = {".".join(part for part in name.split(".") if part != COMPILED): tensor for name, tensor in weights.items()}
    if len(plain) < len(weights):
        raise misfit(f"it holds weights with and without {COMPILED} under one name")
    given = _without_prefix(plain, expected, source)
    for names in _tied(expected):
        stored = [name for name in names if name in given]
        if any(not torch.equal(given[stored[0]], given[name]) for name in stored[1:]):
            raise misfit(f"{listed(stored, NAMED)} are one tensor in the model, and differ in the checkpoint")
        given |= {name: given[stored[0]] for name in names if stored}
    if any(getattr(tensor, "dtype", None) == torch.float64 for tensor in given.values()):
        network.double()
    try:
        network.load_state_dict(given)
    except RuntimeError as error:
        raise misfit(_first_difference(given, expected, built) or shorten(one_line(error), 200)) from None


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


def _content(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            start = file.read(9)
        if path.suffix == ".safetensors" or start[8:] == b"{":
            return safetensors.torch.load_file(path)
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about old pickle protocols
            try:
                return torch.load(path, map_location="cpu", weights_only=True)
            except pickle.UnpicklingError:  # more than tensors, numbers and plain containers
                return read_pickled(path)
    except pickle.UnpicklingError as error:
        told = f"refused: {one_line(error, with_type=False)}; reading a pickle can execute code"
    except Exception as error:  # a damaged file makes the readers raise anything
        kind = kind_of(path) if path.is_file() else ""
        told = f"is {kind}" if kind else f"cannot be read ({shorten(one_line(error), 200)})"
    raise UserError(str(path), reason=told, allowed=STATE_DICT)


def _state_dict(content: Any, path: str | Path) -> Mapping[Any, Any]:
    if not isinstance(content, Mapping) or (isinstance(content, Inert) and not content):
        raise UserError(str(path), reason=f"holds {type(content).__name__}", allowed=STATE_DICT)
    candidates = [key for key in (*KEYS, *AVERAGED_KEYS) if _holds_tensors(content.get(key))]
    if len(candidates) == 1:
        return _state_dict(content[candidates[0]], path)
    if candidates:
        raise UserError("weights_key", reason=f"needed: {path} holds several", allowed=", ".join(candidates))
    if any(isinstance(value, Tensor) for value in content.values()):
        return content
    for pickled in (content[key] for key in KEYS if isinstance(content.get(key), Inert)):
        return _state_dict(pickled, path)
    names = listed(list(map(str, content)), 8) or "an entry that holds one"
    raise UserError("weights_key", reason=f"needed: {path} holds no state dict by a usual name", allowed=names)


def _holds_tensors(value: Any) -> bool:
    """Whether a value is a mapping with tensors, or has such a mapping under one of `KEYS`."""
    if not isinstance(value, Mapping):
        return False
    return any(isinstance(entry, Tensor) for entry in value.values()) or any(map(_holds_tensors, map(value.get, KEYS)))


def _entry(content: Any, key: str, path: str | Path) -> Any:
    """What `key` names, dots between nested keys."""
    for part in [key] if isinstance(content, Mapping) and key in content else key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            names = listed(list(map(str, content)), 8) if isinstance(content, Mapping) else "entries of mappings"
            raise UserError("weights_key", key, reason=f"is not allowed: {path} has no entry {part}", allowed=names)
        content = content[part]
    return content


def _without_prefix(weights: Weights, expected: Weights, source: str | Path) -> Weights:
    """The weights under the one prefix that fits, without it; if none fits, under the one that has most names."""
    pairs = product(weights, expected)
    matches = Counter(weight.removesuffix(name) for weight, name in pairs if f".{weight}".endswith(f".{name}"))
    fitting = [prefix for prefix in matches if _fits(prefix, weights, expected)]
    if len(fitting) > 1:
        allowed = ", ".join(prefix or "no prefix" for prefix in fitting)
        raise UserError("weights_key", reason=f"needed: {source} holds several sets of weights", allowed=allowed)
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
