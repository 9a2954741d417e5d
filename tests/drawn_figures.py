"""Figures of made-up runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from made_up_runs import let_fail, made_up_run
from matplotlib.figure import Figure

from analysis.figures import draw_figures, figures_of
from analysis.tables import compute_tables, write_tables
from dbviz_ray.config import ModelConfig, SweepConfig
from dbviz_ray.store import Store


def drawn(
    directory: Path,
    sweep: SweepConfig,
    diverged: Callable[[ModelConfig], bool] = lambda model: False,
    error: Callable[[ModelConfig, int], float] = lambda model, epoch: 0.3,
    label_maps: Callable[[ModelConfig, Any], Any] | None = None,
    failed: Callable[[ModelConfig], str] = lambda model: "",
) -> tuple[Store, dict[str, Figure]]:
    """The store of a made-up run and all its figures, which are stored as PNGs too; `failed` as in `let_fail`."""
    store = made_up_run(directory, sweep, diverged, error, label_maps)
    let_fail(store, sweep, failed)
    write_tables(store, compute_tables(store, sweep))
    figures = draw_figures(store, sweep)
    assert list(figures) == list(figures_of(sweep))
    for name in figures:
        assert store.read(store.figure_file(name)).startswith(b"\x89PNG")
    return store, figures
