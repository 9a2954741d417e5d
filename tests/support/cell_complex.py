"""A square cut into convex cells by the zero lines of functions that are affine on every cell.

The complex is kept as edges that know their two end points and the two cells they part, and nothing is said of their
order: a cut needs only the signs of a function at the points. A point is made once for all cells around it, so that
cells that are neighbours in truth are neighbours here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

OUTSIDE = -1
"""Stands for the cell beyond an edge of the square."""


@dataclass
class CellComplex:
    """Convex cells that fill a square. `cut` makes them more."""

    points: Floats
    """`[points, 2]`, in units of the square's sides."""
    edges: Integers
    """`[2, edges]`, the two end points of each."""
    sides: Integers
    """`[2, edges]`, the two cells that each parts."""
    count: int
    """Cells."""

    @classmethod
    def unit_square(cls) -> CellComplex:
        """The square from (0, 0) to (1, 1) as one cell."""
        points = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
        return cls(points, np.array([[0, 1, 2, 3], [1, 2, 3, 0]]), np.array([[0] * 4, [OUTSIDE] * 4]), 1)

    def cut(self, function: Floats, values: Floats, only: Flags | None = None) -> Floats:
        """Cut every cell on which a function takes both signs in two, along its zero line.

        Args:
            function: `[points]`, affine on every cell; exactly 0 where a point is to count as lying on the line.
            values: `[points, any]`, further functions that are affine on every cell.
            only: `[cells]`, which cells may be cut; all if not given. The line then ends at the border of the others.

        Returns:
            `values` at all points there are now, the new ones last.
        """
        signs = np.sign(function).astype(np.int8)
        below, above = self._touched_by(signs < 0), self._touched_by(signs > 0)
        to_cut = below & above if only is None else below & above & only
        if not to_cut.any():
            return values
        start, end = signs[self.edges]
        crossed = np.flatnonzero((start * end < 0) & self._beside(to_cut).any(axis=0))
        values = self._insert_points(crossed, function, values)
        self._part(to_cut, np.concatenate([signs, np.zeros(len(crossed), np.int8)]))
        return values

    def areas(self) -> Floats:
        """`[cells]`, shares of the square."""
        cells, ends = self._edges_by_cell()
        corners = self.points[ends]
        edges_each = np.bincount(cells, minlength=self.count)
        sums = [np.bincount(cells, middles, self.count) for middles in corners.mean(axis=0).T]
        within = np.stack(sums, axis=1) / edges_each[:, None]  # a cell is the triangles between this and its edges
        (x0, y0), (x1, y1) = (corners - within[cells]).transpose(0, 2, 1)
        return np.bincount(cells, np.abs(x0 * y1 - x1 * y0) / 2, self.count).astype(np.float64)

    def corners(self) -> csr_array:
        """`[cells, points]`, how many of a cell's edges end in a point: 2 or 0."""
        cells, ends = self._edges_by_cell()
        rows, columns = np.concatenate([cells, cells]), ends.reshape(-1)
        return coo_array((np.ones(len(rows)), (rows, columns)), shape=(self.count, len(self.points))).tocsr()

    def neighbours(self) -> Integers:
        """`[2, inner edges]`, the cells that every edge within the square parts."""
        inner: Flags = (self.sides != OUTSIDE).all(axis=0)
        return self.sides[:, inner]

    def _edges_by_cell(self) -> tuple[Integers, Integers]:
        """Cells `[n]` and the end points `[2, n]` of their edges; an edge stands once for each of its cells."""
        cells = self.sides.reshape(-1)
        inside = cells != OUTSIDE
        return cells[inside], np.concatenate([self.edges, self.edges], axis=1)[:, inside]

    def _beside(self, cells: Flags) -> Flags:
        """`[2, edges]`, whether the cell on either side is one of `cells`."""
        padded: Flags = np.append(cells, False)  # OUTSIDE is the last
        return padded[self.sides]

    def _touched_by(self, points: Flags) -> Flags:
        """`[cells]`, which have one of `points` as a corner."""
        touched = np.zeros(self.count + 1, dtype=np.bool_)
        touched[self.sides[:, points[self.edges].any(axis=0)]] = True
        return touched[:-1]

    def _insert_points(self, crossed: Integers, function: Floats, values: Floats) -> Floats:
        """Put a point on each of the crossed edges where the function is zero."""
        start, end = self.edges[:, crossed]
        new = np.arange(len(self.points), len(self.points) + len(crossed))
        share = (function[start] / (function[start] - function[end]))[:, None]
        self.points = np.concatenate([self.points, (1 - share) * self.points[start] + share * self.points[end]])
        values = np.concatenate([values, (1 - share) * values[start] + share * values[end]])
        self.edges[1, crossed] = new
        self.edges = np.concatenate([self.edges, [new, end]], axis=1)
        self.sides = np.concatenate([self.sides, self.sides[:, crossed]], axis=1)
        return values

    def _part(self, to_cut: Flags, signs: NDArray[np.int8]) -> None:
        """Give what lies below in each cell to a new cell, and put an edge between the two."""
        old = np.flatnonzero(to_cut)
        new = np.arange(self.count, self.count + len(old))
        beside = self._beside(to_cut)
        ends = signs[self.edges]
        side, end, edge = np.nonzero(beside[:, None] & (ends == 0))
        cells, points = self.sides[side, edge], self.edges[end, edge]
        order = np.lexsort((self.points[points] @ [0.83, 0.56], cells))  # along the line, unless it is just across
        cells, points = cells[order], points[order]
        first = np.searchsorted(cells, old)
        last = np.searchsorted(cells, old, side="right") - 1
        renamed = np.arange(self.count + 1)
        renamed[old] = new
        below = beside & (ends < 0).any(axis=0)
        self.sides[below] = renamed[self.sides[below]]
        self.edges = np.concatenate([self.edges, [points[first], points[last]]], axis=1)
        self.sides = np.concatenate([self.sides, [old, new]], axis=1)
        self.count += len(old)
