"""ResNet-18 (He et al., Deep Residual Learning, arXiv 1512.03385) for small images."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock

from dbviz_ray.architectures.layers import GlobalAveragePool, out_of_place, residual_stages
from dbviz_ray.config import Count

BLOCKS_PER_STAGE = 2


class Block(BasicBlock):  # type: ignore[misc]
    """torchvision's block with the sum out of place: in place, it costs stacked networks a copy."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels_in, h, w]` to `[n, channels_out, h/stride, w/stride]`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(residual + shortcut)  # type: ignore[no-any-return]


def resnet18(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """torchvision's ResNet-18 with stages of k, 2k, 4k and 8k channels; k = `width` = 64 is the standard one.

    Unlike He et al.: 3x3 stem of stride 1 and no max pooling, for any image size. torch's default initialisation,
    as in the reference code.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    layers += residual_stages(_block, width, [width, 2 * width, 4 * width, 8 * width], BLOCKS_PER_STAGE)
    head = [GlobalAveragePool(), nn.Linear(8 * width, classes)]
    return out_of_place(nn.Sequential(*layers, *head))


def _block(channels_in: int, channels_out: int, stride: int) -> nn.Module:
    shortcut = None
    if stride != 1 or channels_in != channels_out:
        shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
        )
    return Block(channels_in, channels_out, stride, shortcut)


PREACTIVATION_BLOCKS = 2


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions, each after batch norm and ReLU (He et al., arXiv 1603.05027)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.convolution1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.convolution2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        changes_shape = stride != 1 or channels_in != channels_out
        self.shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False) if changes_shape else None

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels_in, h, w]` to `[n, channels_out, h/stride, w/stride]`."""
        activated = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(activated)
        residual = self.convolution1(activated)
        residual = self.convolution2(F.relu(self.norm2(residual)))
        return residual + shortcut  # type: ignore[no-any-return]


def resnet18_width(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Pre-activation ResNet-18 with stages of k, 2k, 4k and 8k channels; k = `width` = 64 is the standard one.

    3x3 stem, no pooling before the stages, global average pooling after them: for any image size. Like the code
    behind both papers, and unlike He et al., it has no batch norm between the last block and the pooling.
    """
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)]
    layers += residual_stages(PreActivationBlock, width, [width, 2 * width, 4 * width, 8 * width], PREACTIVATION_BLOCKS)
    head = [GlobalAveragePool(), nn.Linear(8 * width, classes)]
    return nn.Sequential(*layers, *head)


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
