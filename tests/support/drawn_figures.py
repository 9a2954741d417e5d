"""Figures of made-up runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from support.made_up_runs import let_fail, made_up_run

from dbviz_ray.analysis.figures import figures_of
from dbviz_ray.analysis.figures.drawing import draw_figures
from dbviz_ray.analysis.tables import compute_tables, write_tables
from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.store import Store

STARTS = {"png": b"\x89PNG", "pdf": b"%PDF", "gif": b"GIF8", "tex": b"%"}
"""Of the files that figures are stored as."""


def drawn(
    directory: Path,
    sweep: SweepConfig,
    diverged: Callable[[ModelConfig], bool] = lambda model: False,
    error: Callable[[ModelConfig, int], float] = lambda model, epoch: 0.3,
    label_maps: Callable[[ModelConfig, Any], Any] | None = None,
    failed: Callable[[ModelConfig], str] = lambda model: "",
    only: Sequence[str] = (),
) -> tuple[Store, dict[str, Figure]]:
    """The store of a made-up run and its figures, all or `only` some, stored too; `failed` as in `let_fail`."""
    store = tabulated(made_up_run(directory, sweep, diverged, error, label_maps), sweep, failed)
    kinds = figures_of(sweep)
    figures = draw_figures(store, sweep, only)
    assert list(figures) == list(only or kinds)
    for name in figures:
        for suffix in kinds[name].suffixes:
            assert store.read(store.figure_file(name, suffix)).startswith(STARTS[suffix])
    return store, figures


def drawn_one(directory: Path, sweep: SweepConfig, name: str, **made_up: Any) -> tuple[Store, Figure]:
    """The same with one figure."""
    store, figures = drawn(directory, sweep, only=[name], **made_up)
    return store, figures[name]


def tabulated(store: Store, sweep: SweepConfig, failed: Callable[[ModelConfig], str]) -> Store:
    """A made-up run with its tables, without what failed."""
    let_fail(store, sweep, failed)
    write_tables(store, compute_tables(store, sweep))
    return store


def caption_of(figure: Figure) -> str:
    """What stands under a figure, in one line."""
    text = figure.get_supxlabel() or figure.legends[0].get_title().get_text()
    return " ".join(text.split())
