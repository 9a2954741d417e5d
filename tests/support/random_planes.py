"""Planes through images that are given or made up."""

import torch

from dbviz_ray.planes import PlaneSet


def planes_through(anchors: torch.Tensor, resolution: int, margin: float = 0.1) -> PlaneSet:
    """The planes through `anchors` `[planes, 3, channels, height, width]`, whose images have no place and no class."""
    unknown = torch.full((len(anchors), 3), -1)
    return PlaneSet(anchors, unknown, unknown, resolution, margin)


def random_planes(count: int, resolution: int, shape: tuple[int, ...] = (1, 8, 8), margin: float = 0.1) -> PlaneSet:
    """Planes through Gaussian noise of a shape (channels, height, width)."""
    anchors = torch.randn(count, 3, *shape, generator=torch.Generator().manual_seed(0))
    return planes_through(anchors, resolution, margin)
