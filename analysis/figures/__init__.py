"""Pictures, drawn from stored tables only."""

from __future__ import annotations

import io
from collections.abc import Callable

from matplotlib.figure import Figure

from analysis.curves import EPOCH, WIDTH, curves
from analysis.figures.by_recipe import by_recipe
from analysis.figures.decision_regions import decision_regions
from analysis.figures.learning_rates import learning_rates
from analysis.figures.over_curves import double_descent, epochs
from analysis.figures.reproducibility_matrix import reproducibility_matrix
from analysis.groups import NETWORK, at_last_epoch, groups_of
from analysis.recipes import compares_recipes, several_rates
from analysis.tables.between_groups import MAX_GROUPS
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

Drawing = Callable[[Store, SweepConfig], Figure]


def figures_of(sweep: SweepConfig) -> dict[str, Drawing]:
    """The figures that a sweep has, by name; what it varies decides.

    - `double_descent`: curves over three or more widths.
    - `epochs`: curves over kept epochs, if there are snapshots.
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
