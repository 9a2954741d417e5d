"""Wide residual networks (Zagoruyko & Komodakis, arXiv 1605.07146)."""

from __future__ import annotations

from torch import nn

from dbviz_ray.architectures.pooling import GlobalAveragePool
from dbviz_ray.architectures.resnet_width import PreActivationBlock
from dbviz_ray.architectures.stages import residual_stages
from dbviz_ray.config import Count

BASE_CHANNELS = 16


def wide_resnet28(*, width: int, image_shape: tuple[int, int, int], classes: int, depth: Count = 28) -> nn.Module:
    """WRN-`depth`-k without dropout: a stem of 16 channels, three stages of 16k, 32k and 64k channels; k = `width`.

    k = 10 is the standard one; the paper also has 20 and 30. Convolutions start as in He et al., arXiv 1502.01852
    (normal, fan out), the last bias at zero.
    """
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"depth: {depth} is not allowed; allowed: 6n + 4 with n of 1 or more (10, 16, 22, 28, ...)")
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], BASE_CHANNELS, 3, padding=1, bias=False)]
    widths = [BASE_CHANNELS * width * factor for factor in (1, 2, 4)]
    layers += residual_stages(PreActivationBlock, BASE_CHANNELS, widths, depth // 6)
    channels = widths[-1]
    head = nn.Linear(channels, classes)
    network = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), GlobalAveragePool(), head)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(head.bias)
    return network
