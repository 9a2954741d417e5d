"""Draw the figures of a sweep, and store them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from matplotlib import rc_context
from matplotlib.figure import Figure

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import PictureKey, Store

from . import DOTS, FigureEntry, chosen_figures
from .style import STYLE
from .sweep_tables import SweepTables

CRISP = 400
"""Least number of pixels on a side of a picture in a PDF: viewers smooth smaller ones when they enlarge them."""


def draw_figures(store: Store, sweep: SweepConfig, names: Iterable[str] = ()) -> dict[str, Figure]:
    """Draw the figures called `names`, by default all, store each with all its suffixes, and return them by name.

    Raises UserError for a figure that the sweep does not have.
    """
    tables = SweepTables(store, sweep)
    return {name: _draw(tables, entry) for name, entry in chosen_figures(sweep, names).items()}


def _draw(tables: SweepTables, entry: FigureEntry) -> Figure:
    store = tables.store
    with rc_context(STYLE):
        figure = entry.draw(tables)
        for suffix in entry.suffixes:
            content = entry.file(tables, suffix) if suffix in entry.others else encoded(figure, suffix)
            store.write(store.figure_file(entry.name, suffix), content)
    return figure


def pictures_shown(store: Store, sweep: SweepConfig, names: Iterable[str]) -> set[PictureKey]:
    """The pictures of planes in the figures called `names`, which `--resolution` takes on a finer grid."""
    tables = SweepTables(store, sweep)
    with rc_context(STYLE):
        for entry in chosen_figures(sweep, names).values():
            entry.draw(tables)
    return tables.seen


def encoded(figure: Figure, suffix: str) -> bytes:
    """A figure as a file with this suffix, such as png or pdf."""
    file = io.BytesIO()
    with rc_context(STYLE), _enlarged(figure) if suffix == "pdf" else nullcontext():
        figure.savefig(file, format=suffix, dpi=DOTS)
    return file.getvalue()


@contextmanager
def _enlarged(figure: Figure) -> Iterator[None]:
    """Within the block, pictures without interpolation repeat their pixels until they have `CRISP` on a side."""
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
