"""Planes through three images: triplets, bases, grids. Pure geometry.

A plane goes through images x1, x2, x3 (normalised pixels) and is spanned by

    e1 = (x2 - x1) / |x2 - x1|,    e2 = the part of x3 - x1 orthogonal to e1, normalised,

so that a point is x1 + a e1 + b e2 and the images lie at (0, 0), (|x2 - x1|, 0) and ((x3 - x1).e1, |orthogonal
part|). The grid covers the bounding box of the three, extended on each side by `margin` times its length. This is
the reference code of arXiv 2203.08124; the formula printed in the paper lacks the base x1.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from dbviz_ray.config import PlaneSetConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.errors import UserError
from dbviz_ray.seeds import numpy_generator

MIN_SINE = 1e-4
"""Smallest sine of the angle at x1 for which three images count as spanning a plane."""
MAX_DRAWS = 1000


@dataclass(frozen=True)
class PlaneSet:
    """Planes and the grid on them, the same for every model.

    anchors: float32 `[planes, 3, channels, height, width]`, the three images in normalised pixels;
    anchor_indices: int64 `[planes, 3]`, their places in the split; anchor_labels: int64 `[planes, 3]`.
    """

    anchors: Tensor
    anchor_indices: Tensor
    anchor_labels: Tensor
    resolution: int
    margin: float

    def __len__(self) -> int:
        return len(self.anchors)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        channels, height, width = self.anchors.shape[2:]
        return channels, height, width

    @cached_property
    def _geometry(self) -> tuple[Tensor, Tensor]:
        """Basis float64 `[planes, 3 (x1, e1, e2), pixels]`, image coordinates float64 `[planes, 3, 2]`."""
        x1, x2, x3 = self.anchors.double().flatten(2).unbind(1)
        first, second = x2 - x1, x3 - x1
        length = first.norm(dim=1, keepdim=True)
        e1 = first / length
        along = (second * e1).sum(1, keepdim=True)
        orthogonal = second - along * e1
        height = orthogonal.norm(dim=1, keepdim=True)
        zero = torch.zeros_like(length)
        coordinates = torch.cat([zero, zero, length, zero, along, height], dim=1).view(-1, 3, 2)
        return torch.stack([x1, e1, orthogonal / height], dim=1), coordinates

    @property
    def basis(self) -> Tensor:
        """x1, e1, e2 of every plane: float64 `[planes, 3, pixels]`."""
        return self._geometry[0]

    @property
    def coordinates(self) -> Tensor:
        """(a, b) of the three images: float64 `[planes, 3, 2]`."""
        return self._geometry[1]

    @cached_property
    def axes(self) -> Tensor:
        """Grid values of a, then of b: float64 `[planes, 2, resolution]`, ascending."""
        low, high = self.coordinates.amin(1), self.coordinates.amax(1)
        reach = self.margin * (high - low)
        steps = torch.linspace(0, 1, self.resolution, dtype=torch.float64)
        start, length = low - reach, high - low + 2 * reach
        return start[..., None] + length[..., None] * steps


class GridPoints:
    """The points of a plane set's grids, built by broadcasting on a device, a batch at a time.

    A point is corner + s * (one side of the grid) + t * (the other), with s and t from 0 to 1. What is linear in the
    images is linear in s and t, so `through` can put a linear layer before the broadcasting, where it costs three
    products a plane instead of one a point.
    """

    def __init__(self, planes: PlaneSet, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        x1, e1, e2 = planes.basis.unbind(1)
        a, b = planes.axes.unbind(1)
        corner = x1 + a[:, :1] * e1 + b[:, :1] * e2
        self._spans = torch.stack([corner, (a[:, -1:] - a[:, :1]) * e1, (b[:, -1:] - b[:, :1]) * e2])
        self._shape = planes.anchors.shape[2:]
        self._resolution = planes.resolution
        self._device, self._dtype = device, dtype

    def through(self, layer: nn.Linear) -> GridPoints:
        """The points' images under a linear layer over the flattened pixels, computed in float64."""
        weight = layer.weight.detach().to("cpu", torch.float64)
        mapped = copy.copy(self)
        mapped._spans = self._spans @ weight.T
        if layer.bias is not None:
            mapped._spans[0] += layer.bias.detach().to("cpu", torch.float64)
        mapped._shape = torch.Size([layer.out_features])
        return mapped

    def batches(self, size: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Planes, rows and points `[planes * rows * resolution, *shape]` of about `size` points each.

        Several planes where they fit into a batch, otherwise rows of one; b by row, a within a row.
        """
        steps = torch.linspace(0, 1, self._resolution, dtype=torch.float64)[:, None].to(self._device, self._dtype)
        corner, side_a, side_b = self._spans[:, :, None].to(self._device, self._dtype)
        planes_each = max(1, size // self._resolution**2)
        rows_each = max(1, size // self._resolution) if planes_each == 1 else self._resolution
        for first in range(0, len(corner), planes_each):
            planes = slice(first, first + planes_each)
            starts = corner[planes] + steps * side_b[planes]
            along = (steps * side_a[planes])[:, None]
            for row in range(0, self._resolution, rows_each):
                rows = slice(row, row + rows_each)
                yield planes, rows, (starts[:, rows, None] + along).view(-1, *self._shape)


def draw_plane_set(config: PlaneSetConfig, dataset: Dataset) -> PlaneSet:
    """The planes that `config` asks for: distinct images, never collinear, drawn from the "planes" stream.

    The paper draws i.i.d. training images, its code test images with replacement until the labels differ; both
    are offered, neither lets an image stand twice in a triplet.
    """
    images, labels = dataset.split(config.images)
    return draw_planes(dataset.normalised(images), labels, config)


def draw_planes(images: Tensor, labels: Tensor, config: PlaneSetConfig) -> PlaneSet:
    """Planes through triplets of `images` (normalised, `[n, channels, height, width]`) with `labels` `[n]`."""
    check_possible(labels, config)
    generator = numpy_generator("planes", config.seed)
    triplets = [_draw_triplet(images, labels, config, generator) for _ in range(config.count)]
    indices = torch.from_numpy(np.stack(triplets))
    return PlaneSet(images[indices].float(), indices, labels[indices], config.resolution, config.margin)


def _draw_triplet(
    images: Tensor, labels: Tensor, config: PlaneSetConfig, generator: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    for _ in range(MAX_DRAWS):
        triplet = generator.choice(len(images), size=3, replace=False)
        classes = len(set(labels[triplet].tolist()))
        if (config.classes == "any" or classes == 3) and _spans_plane(images[triplet]):
            return triplet
    raise UserError(f"planes: in {MAX_DRAWS} draws no three {config.images} images span a plane as asked for")


def _spans_plane(triplet: Tensor) -> bool:
    x1, x2, x3 = triplet.double().flatten(1)
    first, second = x2 - x1, x3 - x1
    lengths = first.norm() * second.norm()
    if lengths == 0:
        return False
    cosine = (first @ second / lengths).clamp(-1, 1)
    return bool((1 - cosine**2).sqrt() > MIN_SINE)


def check_possible(labels: Tensor, config: PlaneSetConfig) -> None:
    """UserError if images with these labels cannot give the planes that `config` asks for."""
    if len(labels) < 3:
        raise UserError(f"planes: {len(labels)} {config.images} images are not enough; a plane needs 3")
    classes = len(labels.unique())
    if config.classes == "different" and classes < 3:
        raise UserError(f"planes: classes=different needs images of 3 classes, these have {classes}; allowed: any")
