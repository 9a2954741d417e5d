"""Planes through three images: bases and grids. Pure geometry.

A plane goes through images x1, x2, x3 (normalised pixels). Its basis is

    e1 = (x2 - x1) / |x2 - x1|,    e2 = the part of x3 - x1 orthogonal to e1, normalised,

so a point is x1 + a e1 + b e2, and the images lie at (0, 0), (|x2 - x1|, 0) and ((x3 - x1).e1, |orthogonal part|).
The grid covers the bounding box of the three images, extended on each side by `margin` times its length. This follows
the reference code of arXiv 2203.08124; the formula in the paper omits the base x1.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

MIN_SINE = 1e-4
"""Three images span a plane if the sine of the angle at x1 is larger."""


@dataclass(frozen=True)
class Origin:
    """How the three images of every plane were made, if they are not all images of the split.

    kinds: "natural", "shuffled", "uniform_noise", "adversarial" or "random_direction", for each of the three;
    sources: int64 `[planes, 3]`, places in the split of the images they were made from, -1 for noise;
    attacked: model_id of the model that the adversarial examples attack.
    """

    kinds: tuple[str, str, str]
    sources: Tensor
    attacked: str | None = None


@dataclass(frozen=True)
class PlaneSet:
    """Planes and their grid, the same for every model.

    anchors: float32 `[planes, 3, channels, height, width]`, the three images in normalised pixels;
    anchor_indices: int64 `[planes, 3]`, their places in the split, -1 for an image that is not in it;
    anchor_labels: int64 `[planes, 3]`, true classes of the images or of their sources, -1 for noise.
    """

    anchors: Tensor
    anchor_indices: Tensor
    anchor_labels: Tensor
    resolution: int
    margin: float
    origin: Origin | None = None
    """None if all are images of the split."""

    def __len__(self) -> int:
        return len(self.anchors)

    def part(self, which: Sequence[int], resolution: int | None = None) -> "PlaneSet":
        """Some of the planes, by default on the same grid; `resolution` is the number of points on a side."""
        some = list(which)
        indices, labels = self.anchor_indices[some], self.anchor_labels[some]
        return PlaneSet(self.anchors[some], indices, labels, resolution or self.resolution, self.margin)

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
    """The points of a plane set's grids, built on a device by broadcasting, one batch at a time.

    A point is corner + s * (one side of the grid) + t * (the other), with s and t from 0 to 1. A linear layer is linear
    in s and t, so `through` applies it before the broadcasting: three products for each plane instead of one for each
    point.
    """

    def __init__(self, planes: PlaneSet, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        x1, e1, e2 = planes.basis.unbind(1)
        a, b = planes.axes.unbind(1)
        corner = x1 + a[:, :1] * e1 + b[:, :1] * e2
        self._spans = torch.stack([corner, (a[:, -1:] - a[:, :1]) * e1, (b[:, -1:] - b[:, :1]) * e2])
        self._shape = planes.anchors.shape[2:]
        self._resolution = planes.resolution
        self._device, self._dtype = device, dtype

    def through(self, layer: nn.Linear) -> "GridPoints":
        """The points after a linear layer over the flattened pixels, computed in float64."""
        weight = layer.weight.detach().to("cpu", torch.float64)
        mapped = copy.copy(self)
        mapped._spans = self._spans @ weight.T
        if layer.bias is not None:
            mapped._spans[0] += layer.bias.detach().to("cpu", torch.float64)
        mapped._shape = torch.Size([layer.out_features])
        return mapped

    def batches(self, size: int) -> Iterator[tuple[slice, slice, Tensor]]:
        """Planes, rows and points `[planes * rows * resolution, *shape]`, about `size` points at a time.

        A batch holds several planes if they fit, otherwise rows of one plane; b varies by row, a within a row.
        """
        steps, (corner, side_a, side_b) = self._on_device()
        planes_each = max(1, size // self._resolution**2)
        rows_each = max(1, size // self._resolution) if planes_each == 1 else self._resolution
        for first in range(0, len(corner), planes_each):
            planes = slice(first, first + planes_each)
            starts = corner[planes] + steps * side_b[planes]
            along = (steps * side_a[planes])[:, None]
            for row in range(0, self._resolution, rows_each):
                rows = slice(row, row + rows_each)
                yield planes, rows, (starts[:, rows, None] + along).view(-1, *self._shape)

    def at(self, places: Tensor, size: int) -> Iterator[Tensor]:
        """Points `[n, *shape]` of the only plane at `places` `[2 (row of b, column of a), n]`, `size` at a time."""
        steps, (corner, side_a, side_b) = self._on_device()
        for row, column in places.to(self._device).split(size, dim=1):
            yield (corner[0] + steps[row] * side_b[0] + steps[column] * side_a[0]).view(-1, *self._shape)

    def _on_device(self) -> tuple[Tensor, Tensor]:
        """s or t of the grid `[resolution, 1]`, and corner and sides `[3, planes, 1, pixels]`."""
        steps = torch.linspace(0, 1, self._resolution, dtype=torch.float64)[:, None]
        return steps.to(self._device, self._dtype), self._spans[:, :, None].to(self._device, self._dtype)


def spans_plane(triplet: Tensor) -> bool:
    """Whether three images `[3, ...]` are distinct and not nearly on one line."""
    x1, x2, x3 = triplet.double().flatten(1)
    first, second = x2 - x1, x3 - x1
    cosine = (first @ second / (first.norm() * second.norm())).clamp(-1, 1)  # NaN if one of them is zero
    return bool((1 - cosine**2).sqrt() > MIN_SINE)
