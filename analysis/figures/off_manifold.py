"""Decision regions on planes that leave the data beside natural ones: the paper's Figure 2."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from dbviz_ray.config import SweepConfig
from dbviz_ray.store import Store

from ..findings.curves import evenly
from ..scores.groups import GROUP, records
from ..tables import read_table
from ..tables.recipes import at_best_rate
from .files import pictures_of
from .region_grid import PALER, Block, Panel, Row, draw_grid
from .regions import plane_picture
from .style import left_out_note, part_of, range_text, title_of
from .sweep_tables import groups_by_reproducibility

MAX_GROUPS, MAX_SETS = 3, 8
TRAININGS = {1: 4, 2: 3, 3: 2}
"""How many are shown of each group, by the number of groups."""


def off_manifold(store: Store, sweep: SweepConfig) -> Figure:
    """Rows: plane sets; columns: trainings of at most three groups of the largest label noise. Over the first panel of
    each group stands how many regions its planes of the set have.

    Each row shows the first plane of its set, so it was not chosen for its looks.
    """
    table, models = read_table(store, "groups"), read_table(store, "models")
    trained = table[table["n_models"] > 0]
    first = trained[trained["plane_set"] == next(iter(sweep.planes))]
    shown, common = groups_by_reproducibility(first, MAX_GROUPS)
    count = min(TRAININGS[len(shown)], shown["n_models"].max())
    columns = [
        f"{group['text']}\ntraining {number + 1}" if len(shown) > 1 else f"training {number + 1}"
        for group in records(shown)
        for number in range(count)
    ]
    rows, confident = [], False
    plane_sets = list(sweep.planes)
    for plane_set in [plane_sets[place] for place in evenly(len(plane_sets), MAX_SETS)]:
        panels: list[Panel | None] = []
        for group in records(shown):
            pictures = pictures_of(store, plane_set, group, models, count)
            confident |= any(picture.confidence is not None for picture in pictures)
            said = _regions(trained, plane_set, group)
            panels += [Panel(picture, said * (number == 0)) for number, picture in enumerate(pictures)]
            panels += [None] * (count - len(pictures))
        rows.append(Row(plane_set.replace("_", " "), plane_picture(store, plane_set, plane=0), panels))
    noisiest = first[first["label_noise"] == first["label_noise"].max()]
    caption = (
        f"{part_of(len(shown), len(at_best_rate(noisiest)), 'kinds of networks')}"
        f"{part_of(len(rows), len(sweep.planes), 'plane sets')}the first plane of each set, and over "
        f"it how many regions a plane of the set has, with a 95 % interval, over {range_text(shown['n_models'])} "
        f"trainings and {range_text(trained['n_planes'])} planes" + PALER * confident + left_out_note(table)
    )
    noise = shown["label_noise"].iloc[0]
    about = ", ".join([common] * bool(common) + [f"label noise {noise:g}"] * bool(noise))
    return draw_grid(
        [Block("", rows)], columns, f"{title_of(sweep, about)}\nplanes through images and off them", caption
    )


def _regions(table: pd.DataFrame, plane_set: str, group: dict[str, Any]) -> str:
    same = (table[["plane_set", *GROUP]] == [plane_set, *(group[column] for column in GROUP)]).all(axis=1)
    for row in records(table[same & table["fragmentation"].notna()]):
        low, value, high = (f"{row[f'fragmentation{end}']:.1f}" for end in ("_low", "", "_high"))
        return f"{value} [{low}, {high}] regions"
    return ""
