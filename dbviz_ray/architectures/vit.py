"""Vision transformer (Dosovitskiy et al., An Image is Worth 16x16 Words, arXiv 2010.11929) for small images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from dbviz_ray.architectures.layers import patch_count
from dbviz_ray.config import Count, Share


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
    """torchvision's VisionTransformer of dimension `width`, 512 is the paper's; `mlp` hidden units, `width` if unset.

    Dropout after the embedding, the attention and both layers of the MLP; none of attention weights. torchvision's
    initialisation, whose head starts at zero: an untrained network gives every class the score 0. Unlike the
    reference code, queries, keys and values have biases, and the positions start at deviation 0.02, not 1.
    """
    channels, height, image_width = image_shape
    if height != image_width:
        raise ValueError(f"image_shape: {height}x{image_width} pixels is not allowed; allowed for vit: square images")
    patch_count(patch_size, image_shape)
    if width % heads:
        raise ValueError(f"heads: {heads} does not divide width = {width}; allowed: divisors of the width")
    network: VisionTransformer = VisionTransformer(
        image_size=height,
        patch_size=patch_size,
        num_layers=layers,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=mlp or width,
        dropout=dropout,
        num_classes=classes,
    )
    if channels != network.conv_proj.in_channels:
        network.conv_proj = nn.Conv2d(channels, width, patch_size, patch_size)
        nn.init.trunc_normal_(network.conv_proj.weight, std=1 / math.sqrt(channels * patch_size**2))
        nn.init.zeros_(network.conv_proj.bias)
    for block in network.encoder.layers:
        block.self_attention = SelfAttention(block.self_attention)
    return network  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """The parameters of an nn.MultiheadAttention, computed by plain products.

    Its fused kernels have no batching rule on CPUs, nor anywhere in evaluation: vmap would run them for one member
    of a cohort after the other.
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
