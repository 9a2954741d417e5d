"""Global average pooling."""

from __future__ import annotations

from torch import Tensor, nn


class GlobalAveragePool(nn.Module):
    """Mean over all pixels: `[n, channels, h, w]` to `[n, channels]`; torch's adaptive pooling has no rule for vmap."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels, h, w]` to `[n, channels]`."""
        return x.mean((2, 3))
