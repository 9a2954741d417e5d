"""Activations of networks that come from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn


def out_of_place(network: nn.Module) -> nn.Module:
    """`network` with every activation out of place: the same numbers; in place they cost stacked networks copies."""
    for module in network.modules():
        if getattr(module, "inplace", False) is True:
            vars(module)["inplace"] = False
    return network


def patch_count(patch_size: int, image_shape: tuple[int, int, int]) -> int:
    """How many patches of side `patch_size` an image has; ValueError if they do not cover it exactly."""
    _, height, width = image_shape
    side = math.gcd(height, width)
    if side % patch_size:
        divisors = ", ".join(str(size) for size in range(1, side + 1) if side % size == 0)
        raise ValueError(
            f"patch_size: {patch_size} does not divide images of {height}x{width} pixels; allowed: {divisors}"
        )
    return (height // patch_size) * (width // patch_size)


class GlobalAveragePool(nn.Module):
    """Mean over all pixels: `[n, channels, h, w]` to `[n, channels]`; torch's adaptive pooling has no rule for vmap."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels, h, w]` to `[n, channels]`."""
        return x.mean((2, 3))


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
