"""Where two trainings disagree on a plane, and what each predicts there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Labels, PictureKey, Store

from ..scores.groups import records
from .captions import title_of
from .regions import Colours, PlanePicture, class_legend, colours_for, draw_regions, plane_picture
from .style import STYLE, entitle, lines, nothing_left, panels
from .sweep_tables import ChosenModel, SweepTables, choose_plane_set, on_one_grid, short_names, shown_picture

SAME = "0.92"
"""The grey of points on which two maps agree; no class is grey."""
PANEL = 2.7
"""The side of a map, in inches."""


@dataclass(frozen=True)
class Pair:
    """Two label maps of one plane, and their texts."""

    names: Sequence[str]
    maps: Sequence[Labels]
    """`[rows, columns]` each."""
    beside: str = ""


def disagreement(tables: SweepTables) -> Figure:
    """The first two trainings of the least reproducible representative group, and of the most reproducible one.

    Groups with trainings that predict one class everywhere count only if there are no others. All show the first plane
    of the first plane set.
    """
    groups, common = tables.representative_groups()
    several = groups[groups["n_models"] > 1].sort_values("reproducibility", kind="stable")
    learned = several[several["n_constant"] == 0]
    ranked = records(several if learned.empty else learned)
    if not ranked:
        return nothing_left(tables.sweep, tables.table("groups"), "two trainings of one kind are")
    pairs = []
    for group in ranked[:1] + ranked[1:][-1:]:
        members = tables.members(group)[:2]
        names = [f"training {n}\n{of['tested_on']} error {of['test_error']:.0%}" for n, of in enumerate(members, 1)]
        beside = f"{group['text']}\nreproducibility {group['reproducibility']:.2f}"
        pairs.append(Pair(names, [tables.picture(member).labels for member in members], beside))
    return pairs_figure(pairs, plane_picture(tables.store, tables.plane_set, 0), title_of(tables.sweep, common))


def disagreement_of(
    store: Store, sweep: SweepConfig, models: Sequence[ChosenModel], plane_set: str, plane: int
) -> Figure:
    """Where two models of a run disagree on one plane. UserError if there is no such plane."""
    choose_plane_set(sweep, plane_set, plane)
    names, common = short_names(models)
    keys = [PictureKey(model.model_id, model.epoch, plane_set, plane) for model in models]
    pair = Pair(names, [shown_picture(store, key).labels for key in keys])
    title = ", ".join(filter(None, [common, f"plane {plane} of {plane_set}"]))
    return pairs_figure([pair], plane_picture(store, plane_set, plane), title)


def pairs_figure(pairs: Sequence[Pair], picture: PlanePicture, title: str) -> Figure:
    """Draw one row for each pair, all on one plane: the first model, the second, and where they disagree."""
    height = PANEL * min(picture.aspect, 1.6)
    figure, grid = panels(len(pairs), 3, 3 * PANEL + 0.5, (height + 0.45) * len(pairs) + 0.9)
    maps = [one for pair in pairs for one in pair.maps]
    colours = colours_for(maps, len(picture.class_names))
    for row, pair in zip(grid, pairs, strict=True):
        first, second = on_one_grid(pair.maps)
        draw_regions(row[0], first, picture, colours)
        draw_regions(row[1], second, picture, colours)
        draw_difference(row[2], first, second, picture, colours)
        titles = [*pair.names, f"they differ on {(first != second).mean():.0%} of the points"]
        for axes, text in zip(row, titles, strict=True):
            axes.set_title(lines(text, PANEL, STYLE["axes.titlesize"]))
        row[0].set_ylabel(pair.beside, fontsize=9)
    class_legend(figure, picture.class_names, f"{DIFFERENCE}\ncolours: predicted classes", maps)
    return entitle(figure, title)


def draw_difference(axes: Axes, first: Labels, second: Labels, picture: PlanePicture, colours: Colours) -> None:
    """Draw the second map `[rows, columns]` where it differs from the first; grey where they agree."""
    axes.set_facecolor(SAME)
    draw_regions(axes, np.ma.masked_where(first == second, second), picture, colours)


DIFFERENCE = "right: what the second predicts where the first predicts another class; grey: both predict the same"
"""The caption of `draw_difference`."""
