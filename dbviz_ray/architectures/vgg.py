"""VGG-19 (Simonyan & Zisserman, arXiv 1409.1556) for small images."""

from __future__ import annotations

from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from dbviz_ray.architectures.layers import GlobalAveragePool, out_of_place

STANDARD_WIDTH = 64


def vgg19(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """torchvision's VGG-19 features with batch norm; the first stage has `width` channels, 64 is the standard one.

    Unlike Simonyan & Zisserman: every stage scaled by `width` / 64, global average pooling and one linear layer in
    place of three (as in the reference code), and no max pooling of images that are 1 pixel wide.
    """
    side = min(image_shape[1:])
    layers: list[str | int] = []
    for layer in cfgs["E"]:
        if isinstance(layer, int):
            layers.append(layer // STANDARD_WIDTH * width)
        elif side > 1:
            layers.append(layer)
            side //= 2
    features = make_layers(layers, batch_norm=True)
    features[0] = nn.Conv2d(image_shape[0], width, 3, padding=1)
    head = [GlobalAveragePool(), nn.Linear(8 * width, classes)]
    return out_of_place(nn.Sequential(*features, *head))
