"""DenseNet-121 (Huang et al., Densely Connected Convolutional Networks, arXiv 1608.06993) for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dbviz_ray.architectures.layers import GlobalAveragePool

LAYERS_PER_BLOCK = (6, 12, 24, 16)
BOTTLENECK = 4


class DenseLayer(nn.Module):
    """Appends `growth` channels, made by a 1x1 and a 3x3 convolution, each after batch norm and ReLU.

    torchvision's layer, but for what it takes and returns: one tensor of all channels so far, not a list to be joined
    anew in every layer, which takes more operations.
    """

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.convolution1 = nn.Conv2d(channels_in, BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK * growth)
        self.convolution2 = nn.Conv2d(BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels_in, h, w]` to `[n, channels_in + growth, h, w]`."""
        narrow = self.convolution1(F.relu(self.norm1(x)))
        return torch.cat([x, self.convolution2(F.relu(self.norm2(narrow)))], dim=1)


def densenet121(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """DenseNet-BC of 121 layers; growth rate = `width`, 32 is the standard one.

    A 3x3 convolution of 2 * `width` channels in front, no batch norm or pooling before the blocks, as in the
    CIFAR networks of Huang et al. and in the reference code, and torch's default initialisation as in the latter.
    Between two blocks the image is halved, unless it is 1 pixel wide.
    """
    channels, side = 2 * width, min(image_shape[1:])
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False)]
    for index, count in enumerate(LAYERS_PER_BLOCK):
        if index > 0:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False)]
            layers += [nn.AvgPool2d(2)] if side > 1 else []
            channels, side = channels // 2, side // 2
        for _ in range(count):
            layers.append(DenseLayer(channels, width))
            channels += width
    head = [GlobalAveragePool(), nn.Linear(channels, classes)]
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), *head)
