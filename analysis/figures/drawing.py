"""Draw the figures of a sweep, and store them."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from matplotlib import rc_context
from matplotlib.figure import Figure

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import PictureKey, Store

from . import DOTS, SUFFIXES, figures_of
from .style import STYLE
from .sweep_tables import SweepTables

CRISP = 400
"""Least number of pixels on a side of a picture in a PDF: viewers smooth smaller ones when they enlarge them."""


def draw_figures(store: Store, sweep: SweepConfig, names: Iterable[str] = ()) -> dict[str, Figure]:
    """Draw the figures called `names`, by default all, store each with all its suffixes, and return them by name.

    Raises UserError for a figure that the sweep does not have.
    """
    tables, figures = SweepTables(store, sweep), {}
    with rc_context(STYLE):
        for name, entry in figures_of(sweep, names).items():
            figures[name] = entry.draw(tables)
            others = {suffix: entry.draw(tables, suffix) for suffix in entry.others}
            for suffix, content in (all_encoded(figures[name], SUFFIXES) | others).items():
                store.write(store.figure_file(name, suffix), content)
    return figures


def pictures_shown(store: Store, sweep: SweepConfig, names: Iterable[str]) -> set[PictureKey]:
    """The pictures of planes in the figures called `names`, which `--resolution` takes on a finer grid."""
    tables = SweepTables(store, sweep)
    with rc_context(STYLE):
        for entry in figures_of(sweep, names).values():
            entry.draw(tables)
    return tables.seen


def encoded(figure: Figure, suffix: str) -> bytes:
    """A figure as a file with this suffix, such as png or pdf."""
    return all_encoded(figure, [suffix])[suffix]


def all_encoded(figure: Figure, suffixes: Iterable[str]) -> dict[str, bytes]:
    """A figure as files with these suffixes, laid out once: matplotlib would draw it once more for each."""
    files, engine = {suffix: io.BytesIO() for suffix in suffixes}, figure.get_layout_engine()
    with rc_context(STYLE):
        if engine is not None:
            figure.dpi, before = DOTS, figure.dpi
            engine.execute(figure)
            figure.dpi = before
        figure.set_layout_engine(None)
        try:
            for suffix, file in files.items():
                with _enlarged(figure) if suffix == "pdf" else nullcontext():
                    figure.savefig(file, format=suffix, dpi=DOTS)
        finally:
            figure.set_layout_engine(engine)
    return {suffix: file.getvalue() for suffix, file in files.items()}


@contextmanager
def _enlarged(figure: Figure) -> Iterator[None]:
    """Within the block, pictures without interpolation repeat their pixels until they have `CRISP` on a side."""
    shown = [image for axes in figure.axes for image in axes.images if image.get_interpolation() == "none"]
    originals = {image: image.get_array() for image in shown}
    for image, pixels in originals.items():
        if pixels is not None:
            times = max(1, CRISP // max(pixels.shape[:2]))
            image.set_data(pixels.repeat(times, axis=0).repeat(times, axis=1))
    try:
        yield
    finally:
        for image, pixels in originals.items():
            image.set_data(pixels)
