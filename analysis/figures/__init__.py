"""Pictures, drawn from stored tables only."""

from __future__ import annotations

import io
from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.curves import EPOCH, WIDTH, curves
from analysis.figures.by_recipe import by_recipe
from analysis.figures.decision_regions import decision_regions
from analysis.figures.error_surface import error_surface, has_surface
from analysis.figures.learning_rates import learning_rates
from analysis.figures.margins import margins
from analysis.figures.over_curves import double_descent, epochs
from analysis.figures.plane_sets import plane_sets
from analysis.figures.reproducibility_matrix import reproducibility_matrix
from analysis.figures.resolution import finest_plane_set, resolution
from analysis.figures.streams import streams
from analysis.groups import NETWORK, at_last_epoch, groups_of
from analysis.recipes import compares_recipes, several_rates
from analysis.tables import tables_of
from analysis.tables.between_groups import MAX_GROUPS
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

Drawing = Callable[[Store, SweepConfig], Figure]


def figures_of(sweep: SweepConfig) -> dict[str, Drawing]:
    """The figures that a sweep has, by name; what it varies decides.

    - `double_descent`: curves over three or more widths.
    - `epochs`: curves over kept epochs, if there are snapshots.
    - `error_surface`: over width and epoch at once, if there are two widths or more and three kept epochs or more.
    - `plane_sets`: if there are several.
    - `margins`: if they were asked for.
    - `streams`: if several random streams vary apart.
    - `resolution`: if the grid of any plane set contains a coarser one.
    - `learning_rates`: if a grid of learning rates was tried.
    - `reproducibility_matrix`, `by_recipe`: if there are several architectures, options or recipes; the matrix for
      at most as many groups as the table `between_groups` takes.
    - `decision_regions`: always.
    """
    groups = groups_of(sweep)
    last = at_last_epoch(groups)
    kinds = len(last.drop_duplicates(["architecture", "options", "recipe"]))
    by_noise = last.drop_duplicates([*NETWORK, "label_noise", "recipe"])["label_noise"].value_counts()
    compared = "reproducibility" in sweep.scores
    drawn: dict[str, tuple[bool, Drawing]] = {
        "double_descent": (bool(curves(groups, WIDTH)), double_descent),
        "epochs": (bool(curves(groups, EPOCH)), epochs),
        "error_surface": (has_surface(groups), error_surface),
        "plane_sets": (len(sweep.planes) > 1, plane_sets),
        "margins": (sweep.margins is not None, margins),
        "streams": (compared and "streams" in tables_of(sweep), streams),
        "resolution": ("fragmentation" in sweep.scores and finest_plane_set(sweep) is not None, resolution),
        "learning_rates": (several_rates(groups), learning_rates),
        "reproducibility_matrix": (
            compared and kinds > 1 and by_noise.min() <= MAX_GROUPS,
            reproducibility_matrix,
        ),
        "by_recipe": (compared and compares_recipes(groups), by_recipe),
        "decision_regions": (True, decision_regions),
    }
    return {name: drawing for name, (wanted, drawing) in drawn.items() if wanted}


def draw_figures(store: Store, sweep: SweepConfig) -> dict[str, Figure]:
    """Draw every figure and store it as a PNG; returns them by name."""
    figures = {name: draw(store, sweep) for name, draw in figures_of(sweep).items()}
    for name, figure in figures.items():
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=150)
        store.write(store.figure_file(name), picture.getvalue())
    return figures
