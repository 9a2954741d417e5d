"""Names of architectures and data sets, as import strings: `package.module:function`.

Nothing is imported until it is asked for, so that reading a configuration costs no torch. A user's own
architecture or data set is named in a sweep by its import string and needs no registration.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import Any

from dbviz_ray.errors import UserError

ARCHITECTURES = {
    "fully_connected": "dbviz_ray.architectures.fully_connected:fully_connected",
    "resnet18_width": "dbviz_ray.architectures.resnet:resnet18_width",
}
"""Builders called as `builder(width=, image_shape=(channels, height, width), classes=)`, returning an nn.Module."""

DATASETS = {
    "digits": "dbviz_ray.datasets.digits:load_digits",
    "cifar10": "dbviz_ray.datasets.cifar:load_cifar10",
}
"""Loaders called as `loader(config, directory)`, returning a `dbviz_ray.datasets.Dataset`."""

_IMPORT_STRING = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


def check_architecture(name: str) -> str:
    """Return `name` if it is registered or an import string whose module exists; ValueError otherwise."""
    return _check(name, ARCHITECTURES)


def check_dataset(name: str) -> str:
    """Return `name` if it is registered or an import string whose module exists; ValueError otherwise."""
    return _check(name, DATASETS)


def architecture_builder(name: str) -> Callable[..., Any]:
    """The builder that `name` stands for."""
    return _imported(ARCHITECTURES.get(name, name))


def dataset_loader(name: str) -> Callable[..., Any]:
    """The loader that `name` stands for."""
    return _imported(DATASETS.get(name, name))


def nearest(name: str, names: list[str]) -> str:
    """`did you mean ...? ` for the names most like `name`, else nothing."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}? " if close else ""


def _check(name: str, known: Mapping[str, str]) -> str:
    if name in known:
        return name
    names = ", ".join(known)
    if not _IMPORT_STRING.match(name):
        hint = nearest(name, list(known))
        raise ValueError(f"{hint}allowed: {names}, or your own as package.module:function")
    module = name.partition(":")[0]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise ValueError(f"there is no module {module}; allowed: {names}, or an importable package.module:function")
    return name


def _imported(import_string: str) -> Callable[..., Any]:
    module, _, function = import_string.partition(":")
    found = getattr(importlib.import_module(module), function, None)
    if not callable(found):
        raise UserError(f"{import_string}: the module {module} has no function {function}")
    return found  # type: ignore[no-any-return]
