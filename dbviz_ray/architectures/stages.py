"""The stages that every residual network here is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn


def residual_stages(
    block: Callable[[int, int, int], nn.Module], channels: int, widths: Sequence[int], blocks: int
) -> list[nn.Module]:
    """`blocks` blocks for each of `widths`, called as `block(channels_in, channels_out, stride)`.

    The first of them has `channels` inputs; the first block of every stage but the first halves the image.
    """
    layers = []
    for stage, width in enumerate(widths):
        for index in range(blocks):
            layers.append(block(channels, width, 2 if stage > 0 and index == 0 else 1))
            channels = width
    return layers
