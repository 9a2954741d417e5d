"""A figure that moves: its frames, drawn one after another, as a GIF that loops."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

DOTS = 100
"""Dots an inch."""
COLOURS = 256
"""In the palette that all frames share, so that nothing flickers."""


@dataclass(frozen=True)
class Animation:
    """Frames that differ in a few artists of one figure."""

    figure: Figure
    frames: int
    show: Callable[[int], None]
    """Makes the figure show frame number 0, 1, ..."""
    seconds: float = 0.4
    """Of each frame."""
    held: float = 2.5
    """Of the last one, before the first comes again."""

    def images(self) -> NDArray[np.uint8]:
        """Every frame, `[frames, height, width, 3]`.

        The figure is laid out once, as it is in its last frame, so that nothing jumps.
        """
        canvas = FigureCanvasAgg(self.figure)
        self.figure.set_dpi(DOTS)
        self.show(self.frames - 1)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        images = []
        for frame in range(self.frames):
            self.show(frame)
            canvas.draw()
            images.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
        return np.stack(images)

    def gif(self) -> bytes:
        """All frames as a GIF."""
        places, palette = _with_palette(self.images())
        first, *rest = (Image.fromarray(frame) for frame in places)
        for image in (first, *rest):
            image.putpalette(palette.tobytes())
        durations = [round(1000 * self.seconds)] * len(rest) + [round(1000 * self.held)]
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, disposal=1)
        return file.getvalue()


def _with_palette(images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Every pixel's place in a palette, `[frames, height, width]`, and the palette, `[colours, 3]`.

    It holds the most frequent colours, so that flat ones come back exactly; all others become the nearest of them.
    """
    counts = np.zeros(1 << 24, np.int64)
    for image in images:  # one at a time: together their numbers take ten times the memory of the images
        counts += np.bincount(_packed(image).ravel(), minlength=len(counts))
    colours = np.flatnonzero(counts)
    each = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1).astype(np.int32)
    palette = each[np.argsort(-counts[colours], kind="stable")[:COLOURS]]
    nearest = np.zeros(len(counts), np.uint8)
    nearest[colours] = [((palette - colour) ** 2).sum(axis=1).argmin() for colour in each]
    return np.stack([nearest[_packed(image)] for image in images]), palette.astype(np.uint8)


def _packed(image: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Every pixel's colour as one number, `[height, width]`."""
    red, green, blue = np.moveaxis(image.astype(np.int32), -1, 0)
    return np.asarray(red << 16 | green << 8 | blue)
