"""Networks by name, one family a file, and those of the package timm, an optional extra, as timm/NAME."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn
from torch.nn.parameter import is_lazy

from dbviz_ray.config.registry import TIMM, architecture_builder, nearest
from dbviz_ray.config.seeds import derived_seed, drawing_from
from dbviz_ray.errors import FieldError, UserError

_NOT_OPTIONS = ("width", "image_shape", "classes")


def initialised_network(
    architecture: str,
    width: int,
    image_shape: tuple[int, int, int],
    classes: int,
    seed: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """A network that maps `[n, channels, height, width]` to logits `[n, classes]`, initialised by its builder.

    With a seed, the builder draws from the "init" stream, on the CPU; afterwards the global generators of Python, numpy
    and torch are where they were. ValueError if the architecture does not allow this width, image shape or an option.
    """
    if seed is not None:
        with drawing_from(derived_seed("init", seed), torch.device("cpu")):
            return initialised_network(architecture, width, image_shape, classes, None, options)
    if width < 1:
        raise ValueError(f"width: {width} is not allowed; allowed: 1 or more")
    builder = architecture_builder(architecture)
    if options:
        _check_options(architecture, builder, options)
    network = builder(width=width, image_shape=image_shape, classes=classes, **(options or {}))
    if not isinstance(network, nn.Module):
        raise TypeError(f"its builder returns an object of type {type(network).__name__}, not an nn.Module")
    if any(map(is_lazy, [*network.parameters(), *network.buffers()])):
        with torch.no_grad():
            network.eval()
            network(torch.zeros(1, *image_shape))
        network.train()
    return network


def in_precision(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """`network` in float64 or float32. Complex tensors stay complex: `Module.to` would drop their imaginary parts."""
    return network.double() if dtype == torch.float64 else network.float()


def _check_options(architecture: str, builder: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """ValueError unless the builder takes options of these names and, if annotated, of these types and ranges."""
    parameters = inspect.signature(builder).parameters.values()
    named = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    allowed = [name for name in named if name not in _NOT_OPTIONS]
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    try:
        hints = get_type_hints(builder, include_extras=True) if inspect.isfunction(builder) else {}
    except NameError:  # a user's own annotation that is imported for type checkers only
        hints = {}
    for name, value in options.items():
        if name in _NOT_OPTIONS or not (name in allowed or takes_any):
            names = ", ".join(allowed) or "none"
            raise ValueError(f"options.{name}: {value!r}: {architecture} has no such option; allowed: {names}")
        if name in hints:
            try:
                TypeAdapter(hints[name]).validate_python(value)
            except ValidationError as error:
                raise ValueError(f"options.{name}: {value!r}: {error.errors()[0]['msg']}") from None


def out_of_place(network: nn.Module) -> nn.Module:
    """`network` with activations that do not work in place: the same numbers, and no copies in stacked networks."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            vars(module)["inplace"] = False
    return network


def timm_builder(name: str) -> Callable[..., nn.Module]:
    """Builder of timm's untrained network `name`. UserError if timm is not installed, FieldError if it lacks `name`."""
    try:
        timm = importlib.import_module("timm")
    except ModuleNotFoundError:
        raise UserError(f"{TIMM}{name}", reason="the package timm is not installed", hint="pip install timm") from None
    if not timm.is_model(name):
        hint, reason = nearest(name, timm.list_models()), f"timm {timm.__version__} has no such network"
        raise FieldError(f"{TIMM}{name}", reason=reason, allowed="one of timm.list_models()", hint=hint)

    def build(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
        """Initialised by timm; networks that depend on the image size get it."""
        if width != 1:
            raise ValueError(f"width: {width} is not allowed; {TIMM}{name} has a width of its own; allowed: 1")
        arguments = {"pretrained": False, "num_classes": classes, "in_chans": image_shape[0]}
        try:
            network: nn.Module = timm.create_model(name, img_size=image_shape[1:], **arguments)
        except TypeError as error:
            if "img_size" not in str(error):
                raise
            network = timm.create_model(name, **arguments)
        return out_of_place(network)

    return build
