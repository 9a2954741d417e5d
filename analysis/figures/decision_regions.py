"""Decision regions of trainings that differ in their seeds alone: the paper's Figures 3, 7 and 8."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.curves import EPOCH, WIDTH, curves, evenly, shown_rows
from analysis.figures.regions import class_legend, draw_regions, plane_picture
from analysis.groups import GROUP, at_last_epoch, names_of, records
from analysis.recipes import at_best_rate, compares_recipes
from analysis.tables import read_table
from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

MAX_COLUMNS, MAX_ROWS = 5, 6


def decision_regions(store: Store, sweep: SweepConfig) -> Figure:
    """Rows: telling groups; columns: trainings; every picture shows the same plane.

    The plane is the first of the first plane set, so it was not chosen for its looks.
    """
    plane_set = next(iter(sweep.planes))
    picture = plane_picture(store, plane_set, plane=0)
    groups, models, differences = (read_table(store, name) for name in ("groups", "models", "differences"))
    models = models[models["plane_set"] == plane_set]
    rows, title = telling_groups(groups[(groups["plane_set"] == plane_set) & (groups["n_models"] > 0)], differences)
    columns = min(MAX_COLUMNS, max(rows["n_models"]))
    height = 2.2 * picture.aspect + 0.15
    figure = Figure(figsize=(max(5.0, 2.2 * columns + 0.6), height * len(rows) + 1.3), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, group in zip(grid, records(rows), strict=True):
        members = models[(models[GROUP] == [group[column] for column in GROUP]).all(axis=1)]
        error = f"{group['tested_on']} error {group['test_error']:.0%}"
        axes_row[0].set_ylabel(f"{group['text']}\n{error}", fontsize=9)
        for axes, model in zip(axes_row, records(members), strict=False):
            draw_regions(axes, store.read_label_maps(plane_set, model["model_id"], model["epoch"])[0], picture)
        for axes in axes_row[len(members) :]:
            axes.set_axis_off()
    for column, axes in enumerate(grid[0]):
        axes.set_title(f"training {column + 1}", fontsize=10)
    class_legend(figure, picture.class_names)
    figure.suptitle(f"{title}\nthat differ in their seeds alone", fontsize=11)
    return figure


def telling_groups(groups: pd.DataFrame, differences: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Groups to be shown, with what to call each in the column `text`, and what they have in common.

    Where architectures or recipes are compared: at most six, evenly spaced from the most to the least reproducible.
    Else the telling points of the noisiest curve over width, or over epochs. All of the largest label noise.
    """
    noise = groups["label_noise"].max()
    noisiest = groups[groups["label_noise"] == noise]
    for axis in (WIDTH, EPOCH):
        found = curves(noisiest, axis, differences)
        if found and not compares_recipes(groups):
            curve = found[-1]
            shown = shown_rows(curve)
            rows = curve.rows.iloc[list(shown.values())]
            texts = [f"{axis.column} {row}\n({name})" for row, name in zip(rows[axis.column], shown, strict=True)]
            return rows.assign(text=texts), _title(curve.name, noise)
    best = at_best_rate(at_last_epoch(noisiest))
    best = best.assign(text=[name.replace(", ", "\n") for name in names_of(best)])
    chosen = best.sort_values("reproducibility", ascending=False, kind="stable")
    kept = chosen.iloc[evenly(len(chosen), MAX_ROWS)]
    return kept, _title(best["architecture"].iloc[0] if best["architecture"].nunique() == 1 else "", noise)


def _title(name: str, noise: float) -> str:
    common = ", ".join([name] * bool(name) + [f"label noise {noise:g}"] * bool(name or noise))
    return f"{common}: one plane, seen by networks" if common else "One plane, seen by networks"
