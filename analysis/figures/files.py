"""Figures as the bytes of files."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from matplotlib import rc_context
from matplotlib.figure import Figure

from analysis.figures.style import STYLE

DOTS = 150
"""Dots an inch of PNGs, and of what is no vector in a PDF."""
CRISP = 400
"""Pixels on a side that pictures have at least in a PDF: viewers smooth smaller ones when they enlarge them."""


def encoded(figure: Figure, suffix: str) -> bytes:
    """A figure as a file of the kind `suffix`, such as png or pdf."""
    file = io.BytesIO()
    with rc_context(STYLE), _enlarged(figure) if suffix == "pdf" else nullcontext():
        figure.savefig(file, format=suffix, dpi=DOTS)
    return file.getvalue()


@contextmanager
def _enlarged(figure: Figure) -> Iterator[None]:
    """Meanwhile the pixels of all pictures that are not interpolated are repeated until they are `CRISP`."""
    images = [image for axes in figure.axes for image in axes.images if image.get_interpolation() == "none"]
    originals = [image.get_array() for image in images]
    for image, pixels in zip(images, originals, strict=True):
        if pixels is not None:
            times = max(1, CRISP // max(pixels.shape[:2]))
            image.set_data(pixels.repeat(times, axis=0).repeat(times, axis=1))
    try:
        yield
    finally:
        for image, pixels in zip(images, originals, strict=True):
            image.set_data(pixels)
