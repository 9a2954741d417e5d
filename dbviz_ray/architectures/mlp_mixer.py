"""MLP-Mixer (Tolstikhin et al., arXiv 2105.01601)."""

from __future__ import annotations

from torch import Tensor, nn

from dbviz_ray.architectures.layers import patch_count
from dbviz_ray.config import Count, Positive


class Mixing(nn.Module):
    """A two-layer perceptron over the tokens, or over the channels, of `[n, tokens, channels]`, added to its input."""

    def __init__(self, channels: int, size: int, expansion: float, over_tokens: bool) -> None:
        super().__init__()
        hidden = max(1, int(size * expansion))
        self.norm = nn.LayerNorm(channels)
        self.layers = nn.Sequential(nn.Linear(size, hidden), nn.GELU(), nn.Linear(hidden, size))
        self.over_tokens = over_tokens

    def forward(self, x: Tensor) -> Tensor:
        """`[n, tokens, channels]` to the same shape."""
        normed = self.norm(x)
        mixed = self.layers(normed.mT).mT if self.over_tokens else self.layers(normed)
        return x + mixed  # type: ignore[no-any-return]


class Tokens(nn.Module):
    """Patches `[n, channels, rows, columns]` as tokens `[n, rows * columns, channels]`."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, channels, rows, columns]` to `[n, rows * columns, channels]`."""
        return x.flatten(2).mT


class MeanToken(nn.Module):
    """The mean over all tokens."""

    def forward(self, x: Tensor) -> Tensor:
        """`[n, tokens, channels]` to `[n, channels]`."""
        return x.mean(1)


def mlp_mixer(
    *,
    width: int,
    image_shape: tuple[int, int, int],
    classes: int,
    patch_size: Count = 4,
    layers: Count = 12,
    token_expansion: Positive = 4.0,
    channel_expansion: Positive = 4.0,
) -> nn.Module:
    """MLP-Mixer of dimension `width`, 512 is the paper's, without dropout; the mean token is classified.

    Hidden units: `token_expansion` times the patches and `channel_expansion` times the width. Both are 4 in the
    reference code, which took lucidrains/mlp-mixer-pytorch of 2021; Mixer-S of Tolstikhin et al. has 256 (an
    expansion of 4 at 8x8 patches) and 2048. torch's default initialisation.
    """
    tokens = patch_count(patch_size, image_shape)
    blocks = [
        mixing
        for _ in range(layers)
        for mixing in (Mixing(width, tokens, token_expansion, True), Mixing(width, width, channel_expansion, False))
    ]
    embedding = nn.Conv2d(image_shape[0], width, patch_size, patch_size)
    return nn.Sequential(embedding, Tokens(), *blocks, nn.LayerNorm(width), MeanToken(), nn.Linear(width, classes))
