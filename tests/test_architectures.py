from __future__ import annotations

import pytest
import torch

from dbviz_ray.architectures import build_network, initialised_network


def parameters(architecture, width, image_shape=(3, 32, 32)):
    return sum(p.numel() for p in build_network(architecture, width, image_shape, 10).parameters())


@pytest.mark.parametrize(
    ("width", "count"),
    # k = 64: kuangliu's PreActResNet18, which Nakkiran et al. build on, has 11,171,146 parameters.
    [(1, None), (4, None), (10, None), (64, 11_171_146)],
)
def test_resnet18_width(width, count):
    assert parameters("resnet18_width", width) == (count or resnet_by_hand(width))


def resnet_by_hand(k: int) -> int:
    stem, total, channels = 3 * k * 9, 0, k
    for stage in range(4):
        for _ in range(2):
            out = k * 2**stage
            total += 2 * channels + 9 * channels * out + 2 * out + 9 * out * out
            total += channels * out if channels != out else 0
            channels = out
    return stem + total + 8 * k * 10 + 10


def test_fully_connected():
    assert parameters("fully_connected", 16, (1, 8, 8)) == 64 * 16 + 16 + 16 * 10 + 10


@pytest.mark.parametrize(("architecture", "shape"), [("fully_connected", (1, 8, 8)), ("resnet18_width", (3, 16, 16))])
def test_initialisation_is_its_seeds_alone(architecture, shape):
    before = torch.random.get_rng_state()
    first, again, other = (initialised_network(architecture, 4, shape, 10, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert any(not torch.equal(a, c) for a, _, c in pairs)
    assert first(torch.zeros(2, *shape)).shape == (2, 10)
