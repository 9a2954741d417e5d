"""What a file is that is no checkpoint, by its first bytes; files of torch.save with any objects beside the weights.

Of those the tensors are read, and nothing is imported or called.

A pickle names functions and classes, and calls them. Here these names stand for what rebuilds tensors, and for nothing
else: every other one becomes an empty `Inert`.
"""

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

DANGEROUS = {"os", "posix", "nt", "sys", "subprocess", "builtins.eval", "builtins.exec", "builtins.compile"}
"""Modules and functions that no training needs in a checkpoint; a file that names one is refused."""
REBUILDING = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")


class Inert(dict[Any, Any]):
    """Stands for any object in a pickle: takes what is done to it, keeps the entries of a mapping and nothing else."""

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __call__(self, *_: Any, **__: Any) -> "Inert":
        """The result of a function that stands within a pickled object."""
        return Inert()

    def __setstate__(self, state: Any) -> None: ...

    append = extend = add = __setstate__


class _Reader(pickle._Unpickler):
    """Not the one in C, where a damaged number asks for all memory."""

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a function or class; a new one every time, because a pickle can set attributes of it."""
        module = "builtins" if module == "__builtin__" else module  # its name in Python 2, and in protocol 2
        if {module.partition(".")[0], f"{module}.{name}"} & DANGEROUS:
            raise pickle.UnpicklingError(f"it holds {module}.{name}")
        if module == "torch._utils" and name in REBUILDING:
            return lambda *arguments: getattr(torch._utils, name)(*arguments)
        if (module, name) == ("torch._tensor", "_rebuild_from_type_v2"):
            return lambda rebuild, kind, arguments, state: rebuild(*arguments)
        stand_in: Any = type(name, (Inert,), {"__module__": module})
        found = {"collections.OrderedDict": OrderedDict, "torch.Size": tuple, "builtins.getattr": lambda *_: stand_in}
        return found.get(f"{module}.{name}", stand_in)

    def __setattr__(self, name: str, value: Any) -> None:
        """Torch sets `persistent_load`; what it does with anything but the numbers of tensors could write files."""
        is_loader = name == "persistent_load"
        load = (lambda saved: value(saved) if saved[0] == "storage" else saved[1]) if is_loader else value
        super().__setattr__(name, load)


def read_pickled(path: Path) -> Any:
    """What torch.save wrote, tensors on the CPU and other objects as `Inert`; only after torch's restricted reader.

    That one refuses archives with code. UnpicklingError for dangerous objects; a damaged file raises anything.
    """
    reader: Any = SimpleNamespace(
        __name__="inert", Unpickler=_Reader, load=lambda file, **options: _Reader(file, **options).load()
    )
    return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)


BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    "a pointer of Git LFS instead of the file; run `git lfs pull`": (b"version https://git-lfs",),
    "compressed; unpack it first": (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf"),
    "an HDF5 file, as Keras writes it": (b"\x89HDF",),
    "an array of numpy": (b"\x93NUMPY",),
    "an HTML or XML page, perhaps an error of the server that it came from": (b"<",),
    "JSON text": (b"{", b"["),
    "a pickle that torch.save did not write, or cut short": (b"\x80",),
    "a compressed pickle, as joblib writes it": (b"x\x9c", b"x\x5e", b"x\xda", b"x\x01"),
    "protocol buffers, as ONNX and TensorFlow write them": (b"\x08",),
}
WITHIN = {
    ".npy": "an npz file of numpy",
    "constants.pkl": "a TorchScript archive, which holds code",
    "archive_format": "a program of torch.export",
    "model.weights.h5": "a model of Keras",
    "data.pkl": "a damaged file of torch.save",
}
"""By names in a zip archive."""


def kind_of(path: Path) -> str:
    """What a file is, in words; "" if unknown."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start.strip(b"\0"):
        return "empty, or begins with nothing but zeros"
    if not start.startswith(b"PK\x03\x04"):
        found = [kind for kind, beginnings in BEGINNINGS.items() if start.lstrip().startswith(beginnings)]
        return found[0] if found else "text" * (start.isascii() and b"\0" not in start)
    try:
        with zipfile.ZipFile(path) as archive:
            names = " ".join(archive.namelist())
    except Exception:  # damaged bytes raise anything
        return "a zip archive that is damaged or cut short"
    return next((kind for part, kind in WITHIN.items() if part in names), "a zip archive")
