"""Networks by name, one family a file: `build_network(model)`."""

from __future__ import annotations

import torch
from torch import nn

from dbviz_ray.registry import architecture_builder
from dbviz_ray.seeds import derived_seed


def build_network(architecture: str, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """A network that maps `[n, channels, height, width]` to logits `[n, classes]`, parameters untouched."""
    network: nn.Module = architecture_builder(architecture)(width=width, image_shape=image_shape, classes=classes)
    return network


def initialised_network(
    architecture: str, width: int, image_shape: tuple[int, int, int], classes: int, seed: int
) -> nn.Module:
    """`build_network` with parameters drawn from the "init" stream, on the CPU whatever the device.

    torch's layers draw from its global generator; it is seeded inside a fork and given back as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed("init", seed))
        return build_network(architecture, width, image_shape, classes)
