"""Fragmentation: the connected one-class regions of label maps, as pure functions of arrays.

Regions belong to a plane: two regions of a slice may be one in the full space. They also belong to a grid: a region
smaller than a step can be missed, and one narrower than a step, such as an acute tip, falls into pieces. Every grid
breaks tips, so the plain count does not converge to the true number of regions (tests/support/exact_regions.py); the
count of regions of a least area does.

Trained networks on digits, 150 planes: counts on finer and finer grids stand in tests/benchmarks/RESULTS.md.
"""

from collections.abc import Mapping
from typing import NamedTuple

import cc3d
import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Labels

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

TOGETHER = 2**23
"""Points whose regions are found in one pass, which takes some ten bytes for each."""
LEAST_RESOLUTION = 25
"""On coarser grids than this, counts say nothing about the regions."""


class Regions(NamedTuple):
    """The scores of one model's regions on planes, `[planes]` each."""

    fragmentation: Integers
    """Connected one-class regions, 8-neighbourhood. The fragmentation score of arXiv 2203.08124 is the mean."""
    large_regions: Integers
    """Those with at least a minimum share of the plane's points."""
    largest_region: Floats
    """Share of the plane's points in its largest region."""


def regions_of(label_maps: Labels, minimum_share: float) -> Regions:
    """The regions of `label_maps` `[planes, rows, columns]`, many labelled in one pass: an empty row parts them.

    A region with at least `minimum_share` of a plane's points counts as large.
    """
    planes, rows, columns = label_maps.shape
    together = max(1, TOGETHER // (rows * columns))
    if planes > together:
        parts = [regions_of(label_maps[k : k + together], minimum_share) for k in range(0, planes, together)]
        return Regions(*map(np.concatenate, zip(*parts, strict=True)))
    stacked = np.zeros((planes, rows + 1, columns), np.promote_types(label_maps.dtype, np.int16))
    stacked[:, :rows] = label_maps
    stacked[:, :rows] += 1  # zero is background
    numbers = cc3d.connected_components(stacked.reshape(-1, columns), connectivity=8, out_dtype=np.uint32)
    # Regions are numbered in the order of their first points, so the highest number of a map is the count so far.
    so_far = np.maximum.accumulate(numbers.reshape(planes, -1).max(axis=1).astype(np.int64))
    count = np.diff(so_far, prepend=0)
    flat = numbers.reshape(-1)  # there are about ten times fewer runs of equal numbers than points
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    points = np.bincount(flat[starts], np.diff(starts, append=len(flat)))[1:].astype(np.int64)
    large = np.repeat(np.arange(planes), count)[points >= minimum_share * rows * columns]
    largest = np.maximum.reduceat(points, so_far - count)
    return Regions(count, np.bincount(large, minlength=planes), largest / (rows * columns))


def class_shares(label_maps: Labels, classes: int) -> Floats:
    """The share of each class in the points of `label_maps` `[planes, rows, columns]`: `[planes, classes]`."""
    planes = len(label_maps)
    flat = label_maps.reshape(planes, -1)
    cells = flat + np.arange(0, planes * classes, classes)[:, None]
    return np.bincount(cells.reshape(-1), minlength=planes * classes).reshape(planes, classes) / flat.shape[1]


def nested_resolutions(resolution: int) -> list[tuple[int, int]]:
    """Strides and resolutions of the grids within a grid of `resolution` points a side, the coarsest first.

    For every divisor s of R - 1, a grid of R points a side contains one of (R - 1) / s + 1. Strides are powers of two,
    so each grid is twice as fine as the one before: 201 contains 26, 51 and 101.
    """
    strides = [1]
    while (resolution - 1) % (2 * strides[-1]) == 0 and (resolution - 1) // (2 * strides[-1]) >= LEAST_RESOLUTION - 1:
        strides.append(2 * strides[-1])
    return [(stride, (resolution - 1) // stride + 1) for stride in reversed(strides)]


def extrapolated(counts: Mapping[int, Integers] | Mapping[int, Floats]) -> Floats:
    """Region counts in the limit of ever finer grids, from those on the two finest.

    If the error shrinks with the area of a grid cell, the limit from n and m steps a side, n > m, is

        (n^2 counts_n - m^2 counts_m) / (n^2 - m^2).

    It works for counts with a least area (see the top of this file), not for regions of every size. An error that
    shrinks with the length of a step leaves -0.20 instead of -0.01 for four layers, from 101 and 201 points.
    """
    coarse, fine = sorted(counts)[-2:]
    of_fine, of_coarse = (fine - 1) ** 2, (coarse - 1) ** 2
    return np.asarray((of_fine * counts[fine] - of_coarse * counts[coarse]) / (of_fine - of_coarse))
