"""Pickles of arrays, read without executing a pickle's code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np


def unpickled(path: Path) -> dict[bytes, Any]:
    """The dictionary of arrays, lists and strings that a file of CIFAR holds; any other object is refused."""
    with path.open("rb") as stream:
        content: dict[bytes, Any] = _ArrayUnpickler(stream, encoding="bytes").load()
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, not a dictionary")
    return content


class _ArrayUnpickler(pickle.Unpickler):
    _ALLOWED = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in self._ALLOWED:
            return np._core.multiarray._reconstruct if name == "_reconstruct" else getattr(np, name)  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocol 2
            import _codecs

            return _codecs.encode
        raise pickle.UnpicklingError(f"{module}.{name} does not belong there")
