"""ResNet-18 of width k, as in Nakkiran et al., Deep Double Descent, arXiv 1912.02292 (Appendix B)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from dbviz_ray.architectures.pooling import GlobalAveragePool
from dbviz_ray.architectures.stages import residual_stages

BLOCKS_PER_STAGE = 2


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
    layers += residual_stages(PreActivationBlock, width, [width, 2 * width, 4 * width, 8 * width], BLOCKS_PER_STAGE)
    head = [GlobalAveragePool(), nn.Linear(8 * width, classes)]
    return nn.Sequential(*layers, *head)
