"""Networks of the package timm, named timm/NAME; an optional extra."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from torch import nn

from dbviz_ray.architectures.convolutional import out_of_place
from dbviz_ray.config.registry import TIMM, nearest
from dbviz_ray.errors import FieldError, UserError


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
