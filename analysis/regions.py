"""Fragmentation: the connected one-class regions of label maps, as pure functions of arrays.

Regions are those of a plane: what is apart in a slice may be joined in the full space, and the other way round. And
they are those of a grid, on which a region narrower than a step breaks into pieces and one smaller than a step can be
missed: `counts_by_resolution` tells how far a count depends on that, `extrapolated` where it is heading.
"""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.uint8]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

LEAST_RESOLUTION = 25
"""Grid points on a side below which counts say nothing of the regions."""


@dataclass(frozen=True)
class Regions:
    """The regions of one model on the planes of one set."""

    count: Integers
    """`[planes]`, at least 1 each; see `region_counts`."""
    count_by_class: Integers
    """`[planes, classes]`; the sum over classes is `count`."""
    large: Integers
    """`[planes]`, regions that hold at least the asked-for share of the plane's points."""
    largest_share: Floats
    """`[planes]`, share of the plane's points in its largest region."""


def regions_of(label_maps: Labels, classes: int, minimum_share: float) -> Regions:
    """What the regions of every label map are like; all from one labelling.

    Args:
        label_maps: `[planes, rows, columns]`, predicted classes below `classes`.
        classes: Classes that there are.
        minimum_share: Share of a plane's points from which a region counts as large.
    """
    planes, rows, columns = label_maps.shape
    numbers, stacked = _numbered(label_maps)
    so_far = _so_far(numbers, planes)
    count = np.diff(so_far, prepend=0)
    points = np.bincount(numbers.reshape(-1))[1:]
    class_of = np.empty(len(points) + 1, dtype=stacked.dtype)
    class_of[numbers] = stacked  # every point of a region writes the same
    plane_of = np.repeat(np.arange(planes), count)
    by_class = np.bincount(plane_of * classes + class_of[1:] - 1, minlength=planes * classes)
    return Regions(
        count=count,
        count_by_class=by_class.reshape(planes, classes),
        large=np.bincount(plane_of[points >= minimum_share * rows * columns], minlength=planes),
        largest_share=np.maximum.reduceat(points, so_far - count) / (rows * columns),
    )


def region_counts(label_maps: Labels) -> Integers:
    """Connected one-class regions of every label map, 8-neighbourhood.

    The fragmentation score of arXiv 2203.08124 is its mean over planes. All maps are labelled in one pass, stacked
    with an empty row between them.

    Args:
        label_maps: `[planes, rows, columns]`, predicted classes.

    Returns:
        `[planes]`, at least 1 each.
    """
    return np.diff(_so_far(_numbered(label_maps)[0], len(label_maps)), prepend=0)


def _numbered(label_maps: Labels) -> tuple[NDArray[np.uint32], NDArray[np.uint16]]:
    """Regions numbered from 1 through all maps, and classes plus 1; `[planes * (rows + 1), columns]`, 0 between."""
    planes, rows, columns = label_maps.shape
    stacked = np.zeros((planes, rows + 1, columns), dtype=np.uint16)
    stacked[:, :rows] = label_maps
    stacked[:, :rows] += 1  # zero is background
    stacked = stacked.reshape(-1, columns)
    return cc3d.connected_components(stacked, connectivity=8, out_dtype=np.uint32), stacked


def _so_far(numbers: NDArray[np.uint32], planes: int) -> Integers:
    """`[planes]`, regions of each map and all before it.

    Regions are numbered in the order of their first point, so each map's highest number tells how many came so far.
    """
    return np.maximum.accumulate(numbers.reshape(planes, -1).max(axis=1).astype(np.int64))


def class_shares(label_maps: Labels, classes: int) -> Floats:
    """Share of every label map's points that each class holds.

    Args:
        label_maps: `[planes, rows, columns]`, predicted classes below `classes`.
        classes: Classes that there are.

    Returns:
        `[planes, classes]`; the sum over classes is 1.
    """
    planes = len(label_maps)
    flat = label_maps.reshape(planes, -1)
    cells = flat + np.arange(0, planes * classes, classes)[:, None]
    return np.bincount(cells.reshape(-1), minlength=planes * classes).reshape(planes, classes) / flat.shape[1]


def nested_resolutions(resolution: int, least: int = LEAST_RESOLUTION) -> list[tuple[int, int]]:
    """Strides and points on a side of the grids that lie in one of `resolution` points, the coarsest first.

    A grid of R points holds the one of (R - 1) / s + 1 whose every step is s of its own, for every divisor s of R - 1.
    Strides are powers of two, so that each grid is twice as fine as the one before: 201 holds 26, 51 and 101.
    """
    strides = [1]
    while (resolution - 1) % (2 * strides[-1]) == 0 and (resolution - 1) // (2 * strides[-1]) + 1 >= least:
        strides.append(2 * strides[-1])
    return [(stride, (resolution - 1) // stride + 1) for stride in reversed(strides)]


def counts_by_resolution(label_maps: Labels, least: int = LEAST_RESOLUTION) -> dict[int, Integers]:
    """`region_counts` `[planes]` on each of the grids that lie in the maps' own, by points on a side, ascending."""
    resolutions = nested_resolutions(label_maps.shape[1], least)
    return {points: region_counts(label_maps[:, ::stride, ::stride]) for stride, points in resolutions}
