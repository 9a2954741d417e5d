"""Where two trainings disagree on a plane, and on which images trainings disagree most."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dbviz_ray.config import SweepConfig
from dbviz_ray.formatting import shortened
from dbviz_ray.store import Labels, PictureKey, Store

from ..findings.curves import evenly
from ..scores.groups import alike, learned, records
from .captions import title_of
from .regions import Colours, PlanePicture, class_legend, colours_for, draw_regions, picture_of, plane_picture
from .style import STYLE, entitle, inscribe, lines, nothing_left, panels
from .sweep_tables import ChosenModel, SweepTables, choose_plane_set, on_one_grid, short_names, shown_picture

SAME = "0.92"
"""The grey of points on which two maps agree; no class is grey."""
PANEL = 2.7
"""The side of a map, in inches."""
ROWS, IN_ROW, SIDE = 3, 4, 1.5
"""Groups and images of each in the picture of contested images; the side of an image, in inches."""
MOST_CONTESTED, COLUMNS = 12, 6
"""Images, and images in a row, where there is one group."""
MOST_NAMED, MOST_VOTED, LETTERS = 3, 4, 16
"""Models whose predictions are told one by one; classes with votes that are told; letters of their names."""


Pair = tuple[Sequence[str], Sequence[Labels], str]
"""The names of two models, their label maps of one plane, `[rows, columns]` each, and the text beside them."""


def disagreement(tables: SweepTables) -> Figure:
    """The first two trainings of the least reproducible representative group, and of the most reproducible one.

    Groups with trainings that predict one class everywhere count only if there are no others. All show the first plane
    of the first plane set.
    """
    groups, common = tables.representative_groups()
    several = groups[groups["n_models"] > 1].sort_values("reproducibility", kind="stable")
    ranked = records(learned(several))
    if not ranked:
        return nothing_left(tables.table("groups"), "two trainings of one kind are")
    pairs = []
    for group in ranked[:1] + ranked[1:][-1:]:
        members = tables.members(group)[:2]
        names = [f"training {n}\n{of['tested_on']} error {of['test_error']:.0%}" for n, of in enumerate(members, 1)]
        beside = f"{group['text']}\nreproducibility {group['reproducibility']:.2f}"
        pairs.append((names, [tables.picture(member).labels for member in members], beside))
    title = title_of("disagreement", tables.sweep, common)
    return pairs_figure(pairs, plane_picture(tables.store, tables.plane_set, 0), title)


def disagreement_of(
    store: Store, sweep: SweepConfig, models: Sequence[ChosenModel], plane_set: str, plane: int
) -> Figure:
    """Where two models of a run disagree on one plane. UserError if there is no such plane."""
    choose_plane_set(sweep, plane_set, plane)
    names, common = short_names(models)
    keys = [PictureKey(model.model_id, model.epoch, plane_set, plane) for model in models]
    pair = (names, [shown_picture(store, key).labels for key in keys], "")
    title = ", ".join(filter(None, [common, f"plane {plane} of {plane_set}"]))
    return pairs_figure([pair], plane_picture(store, plane_set, plane), title)


def pairs_figure(pairs: Sequence[Pair], picture: PlanePicture, title: str) -> Figure:
    """Draw one row for each pair, all on one plane: the first model, the second, and where they disagree."""
    height = PANEL * min(picture.aspect, 1.6)
    figure, grid = panels(len(pairs), 3, 3 * PANEL + 0.5, (height + 0.5) * len(pairs) + 1.1)
    maps = [one for _, of_pair, _ in pairs for one in of_pair]
    colours = colours_for(maps, len(picture.class_names))
    for row, (names, of_pair, beside) in zip(grid, pairs, strict=True):
        first, second = on_one_grid(of_pair)
        draw_regions(row[0], first, picture, colours)
        draw_regions(row[1], second, picture, colours)
        draw_difference(row[2], first, second, picture, colours)
        titles = [*names, f"they differ on {(first != second).mean():.0%} of the points"]
        for axes, text in zip(row, titles, strict=True):
            axes.set_title(lines(text, PANEL, STYLE["axes.titlesize"]), pad=9)
        row[0].set_ylabel(beside, fontsize=9)
    class_legend(figure, picture.class_names, f"{DIFFERENCE}\ncolours: predicted classes", maps)
    return entitle(figure, title)


def draw_difference(axes: Axes, first: Labels, second: Labels, picture: PlanePicture, colours: Colours) -> None:
    """Draw the second map `[rows, columns]` where it differs from the first; grey where they agree."""
    axes.set_facecolor(SAME)
    draw_regions(axes, np.ma.masked_where(first == second, second), picture, colours)


DIFFERENCE = "right: what the second predicts where the first predicts another class; grey: both predict the same"
"""The caption of `draw_difference`."""


Thumbnail = tuple[NDArray[np.float64], str]
"""An image, `[height, width, 3]` with pixels from 0 to 1, and the text below it."""
Place = tuple[Any, int, int]
"""A plane set's table with its facts, a plane of it, and one of its three images."""


def contested_images(tables: SweepTables) -> Figure:
    """The test images on which the trainings of a few representative groups disagree most, with their votes.

    Pictures come from the stored planes, so only images that planes go through are shown.
    """
    groups, common = tables.representative_groups()
    several = records(learned(groups[groups["n_models"] > 1]))
    stored, votes = _stored_images(tables), tables.table("images")
    pictured = votes[(votes["split"] == "test") & votes["index"].isin(stored) & (votes["conflict_ratio"] > 0)]
    rows = []
    for group in (several[place] for place in evenly(len(several), ROWS)):
        ranked = alike(pictured, group).sort_values("conflict_ratio", ascending=False, kind="stable")
        shown = [int(index) for index in ranked["index"][:IN_ROW]]
        if shown:
            rows.append((group["text"], _thumbnails(tables, group, {index: stored[index] for index in shown})))
    if not rows:
        return nothing_left(tables.table("groups"), "image on which trainings disagree is")
    figure = draw_thumbnails(Figure(layout="constrained"), rows)
    caption = (
        f"of the {len(stored)} test images that planes go through, those on which most pairs of trainings disagree, of "
        "equals the first; below: number and true class; how many trainings predict which class"
    )
    return inscribe(figure, title_of("contested_images", tables.sweep, common), caption)


def _stored_images(tables: SweepTables) -> dict[int, Place]:
    """Where the picture of each test image is stored."""
    places: dict[int, Place] = {}
    for name, planes in tables.sweep.planes.items():
        if planes.through_test_images:
            stored = tables.store.read_parquet(tables.store.planes_file(name))
            for (plane, place), index in np.ndenumerate(np.array(stored[0]["anchor_indices"].to_pylist())):
                places.setdefault(int(index), (stored, plane, place))
    return places


def _thumbnails(tables: SweepTables, group: dict[str, Any], places: Mapping[int, Place]) -> list[Thumbnail]:
    """The images at these places, with the votes of the group's trainings."""
    predictions = [tables.store.read_predictions(member["model_id"]) for member in tables.members(group)]
    tested = [table.filter(pc.field("split") == "test") for table in predictions]
    shown = []
    for index, (stored, plane, place) in places.items():
        predicted = np.array([table["predicted"][index].as_py() for table in tested])
        picture = picture_of(stored, plane)
        text = image_text(index, tested[0]["true_label"][index].as_py(), predicted, picture.class_names)
        shown.append((picture.images[place], text))
    return shown


def image_text(
    index: int, label: int | None, predicted: Labels, class_names: Sequence[str], names: Sequence[str] = ()
) -> str:
    """The number of an image, its true class, if known, and below them how many models predict which class.

    Of few `names` it tells what each predicts. `predicted` are the models' classes, `[models]`.
    """
    called = [shortened(name, LETTERS) for name in class_names]
    head = f"image {index}" if label is None else f"image {index}: {called[label]}"
    if 0 < len(names) <= MOST_NAMED:
        told = [f"{shortened(name, LETTERS)}: {called[of]}" for name, of in zip(names, predicted, strict=True)]
        return "\n".join([head, *told])
    votes = [f"{called[of]} ({count})" for of, count in Counter(predicted.tolist()).most_common()]
    return f"{head}\n{', '.join([*votes[:MOST_VOTED], *['...'] * (len(votes) > MOST_VOTED)])}"


def draw_thumbnails(figure: Figure, rows: Sequence[tuple[str, Sequence[Thumbnail]]]) -> Figure:
    """Draw rows of images with their texts, each row with a name or ""; returns the figure."""
    # A class and its votes stay together.
    rows = [
        (name, [(image, lines(text.replace(" (", "\u00a0("), SIDE + 0.2, 8)) for image, text in shown])
        for name, shown in rows
    ]
    columns = max(len(shown) for _, shown in rows)
    texts = max(text.count("\n") for _, shown in rows for _, text in shown) + 1
    figure.set_size_inches(columns * (SIDE + 0.25) + 0.6, len(rows) * (SIDE + 0.16 * texts + 0.1) + 0.9)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, (name, shown) in zip(grid, rows, strict=True):
        for axes in axes_row[len(shown) :]:
            axes.set_axis_off()
        for axes, (image, text) in zip(axes_row, shown, strict=False):
            axes.imshow(image, interpolation="none")
            axes.set(xticks=[], yticks=[])
            axes.set_xlabel(text, fontsize=8)
        axes_row[0].set_ylabel(name, fontsize=9)
    return figure
