"""Networks by name, one family a file: `build_network(name, width, image_shape, classes, options)`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from dbviz_ray.config.registry import architecture_builder
from dbviz_ray.config.seeds import derived_seed

_NO_OPTIONS: Mapping[str, Any] = {}
_NOT_OPTIONS = ("width", "image_shape", "classes")


def build_network(
    architecture: str,
    width: int,
    image_shape: tuple[int, int, int],
    classes: int,
    options: Mapping[str, Any] = _NO_OPTIONS,
) -> nn.Module:
    """A network that maps `[n, channels, height, width]` to logits `[n, classes]`, initialised by its builder.

    ValueError if the architecture does not allow this width, image shape or one of the options.
    """
    if width < 1:
        raise ValueError(f"width: {width} is not allowed; allowed: 1 or more")
    builder = architecture_builder(architecture)
    if options:
        _check_options(architecture, builder, options)
    network: nn.Module = builder(width=width, image_shape=image_shape, classes=classes, **options)
    return network


def initialised_network(
    architecture: str,
    width: int,
    image_shape: tuple[int, int, int],
    classes: int,
    seed: int,
    options: Mapping[str, Any] = _NO_OPTIONS,
) -> nn.Module:
    """`build_network` with parameters drawn from the "init" stream, always on the CPU.

    torch's layers draw from its global generator, which is seeded in a fork: its own state does not change.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed("init", seed))
        return build_network(architecture, width, image_shape, classes, options)


def _check_options(architecture: str, builder: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """ValueError unless the builder takes options of these names and, if annotated, of these types and ranges."""
    parameters = inspect.signature(builder).parameters
    allowed = [
        name
        for name, parameter in parameters.items()
        if name not in _NOT_OPTIONS and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    hints = _type_hints(builder)
    for name, value in options.items():
        if name in _NOT_OPTIONS or (name not in allowed and not takes_any):
            names = ", ".join(allowed) or "none"
            raise ValueError(f"options.{name}: {value!r}: {architecture} has no such option; allowed: {names}")
        if name in allowed and name in hints:
            try:
                TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                raise ValueError(f"options.{name}: {value!r}: {error.errors()[0]['msg']}") from None


def _type_hints(builder: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(builder, include_extras=True) if inspect.isfunction(builder) else {}
    except NameError:  # a user's own annotation that is imported for type checkers only
        return {}
