"""Networks that cut images into patches: vision transformer (arXiv 2010.11929) and MLP-Mixer (arXiv 2105.01601)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer
from torchvision.ops import Permute

from dbviz_ray.architectures.convolutional import Mean
from dbviz_ray.config.validation import Count, Positive, Share


def patch_count(patch_size: int, image_shape: tuple[int, int, int]) -> int:
    """Number of patches of side `patch_size` in an image; ValueError if they do not cover it exactly."""
    _, height, width = image_shape
    side = math.gcd(height, width)
    if side % patch_size:
        divisors = ", ".join(str(size) for size in range(1, side + 1) if side % size == 0)
        raise ValueError(f"patch_size: {patch_size} does not divide {height}x{width} pixels; allowed: {divisors}")
    return (height // patch_size) * (width // patch_size)


def vit(
    *,
    width: int,
    image_shape: tuple[int, int, int],
    classes: int,
    patch_size: Count = 4,
    layers: Count = 6,
    heads: Count = 8,
    mlp: Count | None = None,
    dropout: Share = 0.1,
) -> nn.Module:
    """torchvision's VisionTransformer of dimension `width` (the paper: 512) with `mlp` hidden units (unset: `width`).

    Dropout follows the embedding, the attention and both layers of the MLP; attention weights have none. The
    initialisation is torchvision's, whose head starts at zero: an untrained network gives every class the score 0.
    Unlike the reference code, queries, keys and values have biases, and the positions start at deviation 0.02, not 1.
    """
    channels, height, image_width = image_shape
    if height != image_width:
        raise ValueError(f"image_shape: {height}x{image_width} pixels is not allowed; allowed for vit: square images")
    patch_count(patch_size, image_shape)
    if width % heads:
        raise ValueError(f"heads: {heads} does not divide width = {width}; allowed: divisors of the width")
    sizes: dict[str, Any] = {"image_size": height, "patch_size": patch_size, "num_layers": layers, "num_heads": heads}
    sizes |= {"hidden_dim": width, "mlp_dim": mlp or width, "num_classes": classes}
    network: VisionTransformer = VisionTransformer(**sizes, dropout=dropout)
    if channels != network.conv_proj.in_channels:
        network.conv_proj = nn.Conv2d(channels, width, patch_size, patch_size)
        nn.init.trunc_normal_(network.conv_proj.weight, std=1 / math.sqrt(channels * patch_size**2))
        nn.init.zeros_(network.conv_proj.bias)
    for block in network.encoder.layers:
        block.self_attention = SelfAttention(block.self_attention)
    return network  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """The parameters of an nn.MultiheadAttention, computed by plain products.

    torch's fused kernels have no batching rule on CPUs or in evaluation mode: vmap would run the members of a cohort
    one after the other.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.heads = attention.num_heads
        self.in_proj_weight, self.in_proj_bias = attention.in_proj_weight, attention.in_proj_bias
        self.out_proj = attention.out_proj

    def forward(self, x: Tensor, _key: Tensor, _value: Tensor, need_weights: bool = False) -> tuple[Tensor, None]:
        """Self-attention over `x`, `[n, tokens, width]` to the same shape; `_key` and `_value` are `x` too."""
        projected = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        query, key, value = projected.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        scaled = query * query.shape[-1] ** -0.5
        weights = torch.softmax(scaled @ key.transpose(2, 3), dim=-1)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2)), None


class MixerLayer(nn.Module):
    """A two-layer perceptron over the tokens or the channels of `[n, tokens, channels]`, added to its input."""

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
    """MLP-Mixer of dimension `width` (the paper: 512), without dropout; it classifies the mean token.

    It has `token_expansion` times as many hidden units as patches and `channel_expansion` times as many as channels.
    Both are 4 in the reference code, which uses lucidrains/mlp-mixer-pytorch of 2021. Mixer-S of Tolstikhin et al. has
    256 (an expansion of 4 at 8x8 patches) and 2048. The initialisation is torch's default.
    """
    tokens = patch_count(patch_size, image_shape)
    blocks: list[nn.Module] = []
    for _ in range(layers):
        blocks += [MixerLayer(width, tokens, token_expansion, True), MixerLayer(width, width, channel_expansion, False)]
    embedding = nn.Conv2d(image_shape[0], width, patch_size, patch_size)
    to_tokens = nn.Sequential(nn.Flatten(2), Permute([0, 2, 1]))
    return nn.Sequential(embedding, to_tokens, *blocks, nn.LayerNorm(width), Mean(1), nn.Linear(width, classes))
