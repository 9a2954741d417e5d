"""Fully connected ReLU networks."""

import itertools
import math

from torch import nn


def fully_connected(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """One hidden layer of `width` ReLU units over the flattened image."""
    return _layers(math.prod(image_shape), width, classes)


def fully_connected_deep(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Four hidden layers of k, k/2, k/4 and k/16 ReLU units, k = `width`; the paper's network has 1024."""
    if width % 16:
        raise ValueError(f"width: {width} is not allowed; the last hidden layer has width/16; allowed: multiples of 16")
    return _layers(math.prod(image_shape), width, width // 2, width // 4, width // 16, classes)


def _layers(*sizes: int) -> nn.Sequential:
    """Flatten, then linear layers between these sizes with ReLU between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
