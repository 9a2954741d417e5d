"""Images cut into square patches."""

from __future__ import annotations

import math


def patch_count(patch_size: int, image_shape: tuple[int, int, int]) -> int:
    """How many patches of side `patch_size` an image has; ValueError if they do not cover it exactly."""
    _, height, width = image_shape
    side = math.gcd(height, width)
    if side % patch_size:
        divisors = ", ".join(str(size) for size in range(1, side + 1) if side % size == 0)
        raise ValueError(
            f"patch_size: {patch_size} does not divide images of {height}x{width} pixels; allowed: {divisors}"
        )
    return (height // patch_size) * (width // patch_size)
