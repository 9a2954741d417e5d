"""Figures of made-up runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from support.made_up_runs import analysed, made_up_run

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.figures.style import STYLE
from dbviz_ray.analysis.figures.sweep_tables import SweepTables
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store


def drawn(
    directory: Path, sweep: SweepConfig, only: Sequence[str] = (), **made_up: Any
) -> tuple[Store, dict[str, Figure]]:
    """The store of a made-up run and its figures, all or `only` some."""
    store = analysed(made_up_run(directory, sweep, **made_up), sweep)
    return store, figures_in(store, sweep, only)


def figures_in(store: Store, sweep: SweepConfig, only: Sequence[str] = ()) -> dict[str, Figure]:
    """The figures of a run, all or `only` some, laid out; their GIF or LaTeX is stored, but not the PNG and the PDF."""
    tables, figures = SweepTables(store, sweep), {}
    with rc_context(STYLE):
        for name, entry in figures_of(sweep, only).items():
            figures[name] = entry.draw(tables)
            figures[name].draw_without_rendering()
            for suffix in entry.others:
                store.write(store.figure_file(name, suffix), entry.draw(tables, suffix))
    return figures


def drawn_one(directory: Path, sweep: SweepConfig, name: str, **made_up: Any) -> tuple[Store, Figure]:
    store, figures = drawn(directory, sweep, only=[name], **made_up)
    return store, figures[name]


def caption_of(figure: Figure) -> str:
    """What stands under a figure, in one line."""
    text = figure.get_supxlabel() or figure.legends[0].get_title().get_text()
    return " ".join(text.split())
