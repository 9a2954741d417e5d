"""The one-class regions of a fully connected ReLU network on a plane, exactly: ground truth for the grid.

Such a network is affine on each cell of a partition of the plane into convex polygons (Humayun et al. 2023, arXiv
2302.12828). The partition starts as the rectangle that the grid covers, and every neuron, layer by layer, cuts the
cells that its zero line crosses. In the cells that are left the scores are affine, so there the lines on which two of
them are equal bound the regions. What is decided, is decided by signs at corners, which neighbouring cells share, so
neighbours never contradict each other and no geometric tolerance decides what is joined.

Regions are joined where they share a piece of boundary; two of one class that only touch in a point are two.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from dbviz_ray.planes import PlaneSet

Floats = NDArray[np.float64]
Regions = list[tuple[int, float]]
"""Class and area of each region, the largest first; areas are shares of the rectangle that the grid covers."""

ROUNDING = 1e-12
"""Relative size below which a difference is taken for 0."""
SMALLEST_AREA = 1e-12
"""Share of the rectangle below which a region is taken for a rounding error."""


class Cells:
    """Convex polygons that fill the unit square; neighbours have the same corners on the edges that they share."""

    def __init__(self) -> None:
        self.points = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
        self.corners = [[0, 1, 2, 3]]  # of every cell, its points in order

    def cut(self, function: Floats, values: Floats, may_cut: Callable[[list[int]], bool] = lambda _: True) -> Floats:
        """Cut every cell on which a function of the points takes both signs along its zero line.

        The function and the columns of `values` are affine on every cell; returns `values` at all points there are now.
        """
        signs = np.sign(function).astype(int).tolist()
        crossed = [number for number, cell in enumerate(self.corners) if {-1, 1} <= {signs[corner] for corner in cell}]
        to_cut = [number for number in crossed if may_cut(self.corners[number])]
        new: dict[tuple[int, int], int] = {}
        for start, end in (edge for number in to_cut for edge in edges_of(self.corners[number])):
            if signs[start] * signs[end] < 0:
                new.setdefault((start, end), len(self.points) + len(new))
        if new:
            first, second = np.array(list(new)).T
            share = (function[first] / (function[first] - function[second]))[:, None]
            self.points, values = (
                np.concatenate([known, (1 - share) * known[first] + share * known[second]])
                for known in (self.points, values)
            )
        signs += [0] * len(new)
        for number in crossed:
            self.corners[number] = with_new_points(self.corners[number], new)
        for number in to_cut:
            whole = self.corners[number]
            self.corners[number] = [corner for corner in whole if signs[corner] <= 0]
            self.corners.append([corner for corner in whole if signs[corner] >= 0])
        return values

    def areas(self) -> list[float]:
        points = (self.points[cell].T for cell in self.corners)
        return [abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2 for x, y in points]

    def neighbours(self) -> list[list[int]]:
        """Every two cells that share an edge."""
        cells: dict[tuple[int, int], list[int]] = {}
        for number, cell in enumerate(self.corners):
            for edge in edges_of(cell):
                cells.setdefault(edge, []).append(number)
        return [both for both in cells.values() if len(both) == 2]


def edges_of(cell: list[int]) -> list[tuple[int, int]]:
    return [(min(a, b), max(a, b)) for a, b in zip(cell, cell[1:] + cell[:1], strict=True)]


def with_new_points(cell: list[int], new: dict[tuple[int, int], int]) -> list[int]:
    corners = []
    for corner, edge in zip(cell, edges_of(cell), strict=True):
        corners.append(corner)
        if edge in new:
            corners.append(new[edge])
    return corners


def exact_regions(network: nn.Module, planes: PlaneSet) -> list[Regions]:
    """The regions on every plane of a network of Flatten, Linear and ReLU layers, as `fully_connected` builds it."""
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    layers = [(layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()) for layer in linear]
    found = []
    for (x1, *directions), axes in zip(planes.basis.numpy(), planes.axes.numpy(), strict=True):
        low, high = axes[:, 0], axes[:, -1]
        corner, sides = x1 + low @ directions, (high - low)[:, None] * directions
        (weight, bias), *rest = layers
        found.append(regions_of_layers([(weight @ sides.T, weight @ corner + bias), *rest]))
    return found


def regions_of_layers(layers: list[tuple[Floats, Floats]]) -> Regions:
    """Of weights and biases from the unit square on."""
    cells = Cells()
    values, (*hidden, (weight, bias)) = cells.points, layers
    for hidden_weight, hidden_bias in hidden:
        for row, constant in zip(hidden_weight, hidden_bias, strict=True):
            reach = np.abs(values).max() * np.abs(row).sum() + abs(constant)
            values = cells.cut(rounded(values @ row + constant, reach), values)
        values = np.maximum(values @ hidden_weight.T + hidden_bias, 0)
    return joined(cells, cut_between_classes(cells, values @ weight.T + bias))


def rounded(function: Floats, reach: float) -> Floats:
    """The function, 0 where it is but a rounding error of the numbers of size `reach` that it was computed from."""
    return np.where(np.abs(function) <= ROUNDING * reach, 0, function)


def best(scores: Floats) -> NDArray[np.bool_]:
    """`[points, classes]`, whether no other score is higher."""
    return rounded(scores.max(axis=1, keepdims=True) - scores, np.abs(scores).max()) == 0


def cut_between_classes(cells: Cells, scores: Floats) -> Floats:
    """Cut cells where two scores `[points, classes]` are equal, until each has one best class; the scores then."""
    for first in range(scores.shape[1]):
        for second in range(first + 1, scores.shape[1]):
            leads = best(scores)
            difference = rounded(scores[:, first] - scores[:, second], np.abs(scores).max())
            scores = cells.cut(difference, scores, lambda cell, leads=leads: not leads[cell].all(axis=0).any())
    return scores


def joined(cells: Cells, scores: Floats) -> Regions:
    """Cells of one class that share an edge are of one region; of equal scores the first class counts, as in argmax."""
    within = np.array([scores[cell].mean(axis=0) for cell in cells.corners])
    classes = best(within).argmax(axis=1)
    alike = [(a, b) for a, b in cells.neighbours() if classes[a] == classes[b]]
    first, second = np.array(alike, dtype=int).reshape(-1, 2).T
    size = len(cells.corners)
    count, region = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(size, size)))
    areas = np.bincount(region, cells.areas(), count)
    class_of = dict(zip(region.tolist(), classes.tolist(), strict=True))
    found = [(class_of[number], float(areas[number])) for number in np.argsort(-areas, kind="stable")]
    return [(number, area) for number, area in found if area > SMALLEST_AREA]
