"""Fully connected ReLU networks."""

from __future__ import annotations

import math

from torch import nn


def fully_connected(width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """One hidden layer of `width` ReLU units over the flattened image."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(image_shape), width),
        nn.ReLU(),
        nn.Linear(width, classes),
    )
