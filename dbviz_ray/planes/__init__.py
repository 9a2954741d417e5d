"""Planes through three images: which images, and the grid of points on each plane."""

from dbviz_ray.planes.drawing import draw_plane_set, draw_planes
from dbviz_ray.planes.geometry import GridPoints, Origin, PlaneSet, spans_plane
from dbviz_ray.planes.triplets import draw_triplets

__all__ = ["GridPoints", "Origin", "PlaneSet", "draw_plane_set", "draw_planes", "draw_triplets", "spans_plane"]
