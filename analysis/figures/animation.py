"""A figure that moves: its frames, drawn one after another, as a GIF that loops."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

DOTS = 100
"""Dots an inch."""
COLOURS = 255
"""Of the palette that all frames share, so that nothing flickers."""


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

    def images(self) -> list[Image.Image]:
        """Every frame, of one size. The figure is laid out once, as it is in its last frame, so that nothing jumps."""
        canvas = FigureCanvasAgg(self.figure)
        self.figure.set_dpi(DOTS)
        self.show(self.frames - 1)
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        images = []
        for frame in range(self.frames):
            self.show(frame)
            canvas.draw()
            images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]))
        return images

    def gif(self) -> bytes:
        """All frames as a GIF."""
        images = self.images()
        palette = images[-1].quantize(COLOURS, dither=Image.Dither.NONE)
        first, *rest = (image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images)
        durations = [round(1000 * self.seconds)] * len(rest) + [round(1000 * self.held)]
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, disposal=1)
        return file.getvalue()
