"""Convolutional networks for small images: ResNet-18, wide ResNet, DenseNet-121, VGG-19 and a CNN of five layers."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import cfgs, make_layers

from dbviz_ray.architectures import out_of_place
from dbviz_ray.config.validation import Count

RESNET18_BLOCKS = 2
"""Blocks of a stage."""
WIDE_RESNET_CHANNELS = 16
DENSENET_LAYERS = (6, 12, 24, 16)
"""Layers of each block."""
DENSENET_BOTTLENECK = 4
VGG_WIDTH = 64


class Mean(nn.Module):
    """The mean over some axes; torch's adaptive pooling has no rule for vmap."""

    def __init__(self, *axes: int) -> None:
        super().__init__()
        self.axes = axes

    def forward(self, x: Tensor) -> Tensor:
        """`x` without these axes."""
        return x.mean(self.axes)


def residual_stages(
    block: Callable[[int, int, int], nn.Module], channels: int, widths: Sequence[int], blocks: int
) -> list[nn.Module]:
    """`blocks` blocks for each of `widths`, called as `block(channels_in, channels_out, stride)`.

    The first block has `channels` inputs. Every stage except the first begins by halving the image.
    """
    layers = []
    for stage, width in enumerate(widths):
        for index in range(blocks):
            layers.append(block(channels, width, 2 if stage > 0 and index == 0 else 1))
            channels = width
    return layers


class ResidualBlock(BasicBlock):  # type: ignore[misc]
    """torchvision's block, but the sum is not in place: that would cost stacked networks a copy."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        shortcut = None
        if stride != 1 or channels_in != channels_out:
            projection = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            shortcut = nn.Sequential(projection, nn.BatchNorm2d(channels_out))
        super().__init__(channels_in, channels_out, stride, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels_in, h, w]` to `[n, channels_out, h/stride, w/stride]`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        residual = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(residual + shortcut)  # type: ignore[no-any-return]


def resnet18(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """torchvision's ResNet-18 with stages of k, 2k, 4k and 8k channels, k = `width`; 64 is standard.

    Unlike He et al. (arXiv 1512.03385), the stem is 3x3 with stride 1 and no max pooling follows, so any image size
    works. The initialisation is torch's default, as in the reference code.
    """
    stem = nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)
    layers: list[nn.Module] = [stem, nn.BatchNorm2d(width), nn.ReLU()]
    layers += residual_stages(ResidualBlock, width, [width, 2 * width, 4 * width, 8 * width], RESNET18_BLOCKS)
    return out_of_place(nn.Sequential(*layers, Mean(2, 3), nn.Linear(8 * width, classes)))


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
    """Pre-activation ResNet-18 with stages of k, 2k, 4k and 8k channels, k = `width`; 64 is standard.

    It has a 3x3 stem, no pooling before the stages and global average pooling after them, so any image size works. Like
    the code behind both papers, and unlike He et al., it has no batch norm between the last block and the pooling.
    """
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], width, 3, padding=1, bias=False)]
    layers += residual_stages(PreActivationBlock, width, [width, 2 * width, 4 * width, 8 * width], RESNET18_BLOCKS)
    return nn.Sequential(*layers, Mean(2, 3), nn.Linear(8 * width, classes))


def wide_resnet28(*, width: int, image_shape: tuple[int, int, int], classes: int, depth: Count = 28) -> nn.Module:
    """WRN-`depth`-k without dropout, k = `width`: a stem of 16 channels and stages of 16k, 32k and 64k channels.

    It is that of arXiv 1605.07146. k = 10 is standard; the paper (arXiv 2203.08124) also has 20 and 30. Convolutions
    are initialised as in He et al., arXiv 1502.01852 (normal, fan out), the last bias with zeros.
    """
    if depth < 10 or depth % 6 != 4:
        raise ValueError(f"depth: {depth} is not allowed; allowed: 6n + 4 with n of 1 or more (10, 16, 22, 28, ...)")
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], WIDE_RESNET_CHANNELS, 3, padding=1, bias=False)]
    widths = [WIDE_RESNET_CHANNELS * width * factor for factor in (1, 2, 4)]
    layers += residual_stages(PreActivationBlock, WIDE_RESNET_CHANNELS, widths, depth // 6)
    head = nn.Linear(widths[-1], classes)
    network = nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]), nn.ReLU(), Mean(2, 3), head)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(head.bias)
    return network


class DenseLayer(nn.Module):
    """Appends `growth` channels, made by a 1x1 and a 3x3 convolution, each after batch norm and ReLU.

    Unlike torchvision's layer, it takes and returns one tensor of all channels so far: fewer operations than joining a
    list in every layer.
    """

    def __init__(self, channels_in: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels_in)
        self.convolution1 = nn.Conv2d(channels_in, DENSENET_BOTTLENECK * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(DENSENET_BOTTLENECK * growth)
        self.convolution2 = nn.Conv2d(DENSENET_BOTTLENECK * growth, growth, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels_in, h, w]` to `[n, channels_in + growth, h, w]`."""
        narrow = self.convolution1(F.relu(self.norm1(x)))
        return torch.cat([x, self.convolution2(F.relu(self.norm2(narrow)))], dim=1)


def densenet121(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """DenseNet-BC of 121 layers with growth rate `width`; 32 is standard.

    As in the CIFAR networks of Huang et al. (arXiv 1608.06993) and the reference code, it begins with a 3x3 convolution
    of 2 * `width` channels, without batch norm or pooling before the blocks. Each transition halves the image, unless
    it is 1 pixel wide. The initialisation is torch's default, as in the reference code.
    """
    channels, side = 2 * width, min(image_shape[1:])
    layers: list[nn.Module] = [nn.Conv2d(image_shape[0], channels, 3, padding=1, bias=False)]
    for index, count in enumerate(DENSENET_LAYERS):
        if index > 0:
            layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels // 2, 1, bias=False)]
            layers += [nn.AvgPool2d(2)] if side > 1 else []
            channels, side = channels // 2, side // 2
        for _ in range(count):
            layers.append(DenseLayer(channels, width))
            channels += width
    head = nn.Linear(channels, classes)
    return nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), Mean(2, 3), head)


def vgg19(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """torchvision's VGG-19 features with batch norm; the first stage has `width` channels, 64 is standard.

    Unlike Simonyan and Zisserman (arXiv 1409.1556), every stage is scaled by `width` / 64, global average pooling and
    one linear layer replace their three layers (as in the reference code), and images 1 pixel wide are not pooled.
    """
    side = min(image_shape[1:])
    layers: list[str | int] = []
    for layer in cfgs["E"]:
        if isinstance(layer, int):
            layers.append(layer // VGG_WIDTH * width)
        elif side > 1:
            layers.append(layer)
            side //= 2
    features = make_layers(layers, batch_norm=True)
    features[0] = nn.Conv2d(image_shape[0], width, 3, padding=1)
    return out_of_place(nn.Sequential(*features, Mean(2, 3), nn.Linear(8 * width, classes)))


def five_layer_cnn(*, width: int, image_shape: tuple[int, int, int], classes: int) -> nn.Module:
    """Four convolutions of k, 2k, 4k and 8k channels, k = `width`, and a linear layer (arXiv 1912.02292); 64 is usual.

    Each convolution is 3x3 and has a bias, batch norm and ReLU. All except the first end with 2x2 max pooling, and the
    last with the maximum over the image; a side of 1 pixel is not pooled. The initialisation is torch's default.
    """
    channels, *sides = image_shape
    layers: list[nn.Module] = []
    for stage, filters in enumerate([width, 2 * width, 4 * width, 8 * width]):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()]
        if stage > 0:
            window = [min(side, 2) if stage < 3 else side for side in sides]
            layers.append(nn.MaxPool2d((window[0], window[1])))
            sides = [side // pooled for side, pooled in zip(sides, window, strict=True)]
        channels = filters
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, classes))
