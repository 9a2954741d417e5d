"""ResNet-18 (He et al., Deep Residual Learning, arXiv 1512.03385) for small images."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from dbviz_ray.architectures.activations import out_of_place
from dbviz_ray.architectures.pooling import GlobalAveragePool
from dbviz_ray.architectures.stages import residual_stages

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
