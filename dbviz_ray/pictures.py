"""Pictures: one plane of a set on a finer grid, where 50 x 50 points would look blocky."""

from __future__ import annotations

import math

import torch

from dbviz_ray.evaluation import Classifier, label_planes
from dbviz_ray.planes import PlaneSet
from dbviz_ray.store import Picture

SHOWN_PLANE = 0
"""The first one drawn, which was not chosen for its looks; all figures show it."""
PICTURE_RESOLUTION = 200
"""Grid points on each side, where a plane set has so many that a picture is cheap beside it."""
PICTURE_SHARE = 0.1
"""A picture has at most this share of the points of its plane set."""


def picture_resolution(planes: PlaneSet) -> int | None:
    """How fine a picture is that every model makes by itself; None if it would be no finer than the planes are."""
    points = PICTURE_SHARE * len(planes) * planes.resolution**2
    finest = min(PICTURE_RESOLUTION, math.isqrt(int(points)))
    return finest if finest > planes.resolution else None


def take_picture(
    network: Classifier,
    planes: PlaneSet,
    plane: int,
    resolution: int,
    device: torch.device,
    *,
    confidence: bool = False,
) -> Picture:
    """What `network` says on the plane number `plane`, with the confidence of its predictions if asked for."""
    one = planes.part([plane], resolution)
    labelled = label_planes(network, one, device, probabilities=confidence)
    highest = None if labelled.probabilities is None else labelled.probabilities[0].amax(-1).numpy()
    return Picture(labelled.labels[0].numpy(), highest)
