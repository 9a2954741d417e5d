"""Distances from images to the decision boundary: quantiles of correctly labelled and mislabelled images."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ..scores.groups import GROUP, alike, records
from .captions import range_text, title_of
from .style import SERIES_COLOURS, inscribe, interval_point, panels, plain
from .sweep_tables import SweepTables

KINDS = {
    "all": (SERIES_COLOURS[0], "images"),
    "correct": (SERIES_COLOURS[0], "correctly labelled images"),
    "mislabelled": (SERIES_COLOURS[1], "mislabelled images"),
}
BOX = 0.26
"""Width of a box; groups are 1 apart."""


def margins(tables: SweepTables) -> Figure:
    """A box for each representative group between the quartiles, with lines to the outer tenths."""
    groups, common = tables.representative_groups()
    table = tables.table("margins")
    apart = table[table["images"] != "all"]
    used = apart if len(apart.merge(groups[GROUP], on=GROUP)) else table
    longest = max(len(line) for text in groups["text"] for line in text.split("\n"))
    figure, ((axes,),) = panels(1, 1, max(7.2, max(1.25, 0.085 * longest) * len(groups) + 1.2), 5.2)
    drawn = [alike(used, group) for group in records(groups)]
    for place, rows in enumerate(drawn):
        for index, row in enumerate(records(rows)):
            middle, (colour, _) = place + 1.25 * BOX * (index - (len(rows) - 1) / 2), KINDS[row["images"]]
            axes.vlines([middle] * 2, [row["q10"], row["q75"]], [row["q25"], row["q90"]], color=colour, linewidth=1.4)
            axes.bar(middle, row["q75"] - row["q25"], BOX, row["q25"], color=colour, alpha=0.35, linewidth=0)
            axes.hlines(row["median"], middle - BOX / 2, middle + BOX / 2, color=colour, linewidth=2)
            interval_point(axes, row, middle + BOX / 4, "median", "0.15", "")
    shown = pd.concat(drawn)
    axes.set_xticks(range(len(groups)), labels=groups["text"], fontsize=8.5)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(0, 1.05 * min(shown[["q90", "median_high"]].max(axis=None), 2 * shown["q90"].max()))
    axes.set_ylabel("distance to the decision boundary")
    plain(axes)
    axes.grid(visible=False, axis="x")
    handles = [Patch(color=KINDS[kind][0], alpha=0.6, label=KINDS[kind][1]) for kind in shown["images"].unique()]
    if len(handles) > 1:
        axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    kinds = shown.groupby("images", sort=False)
    counts = " and ".join(f"{range_text(rows['n_images'])} {KINDS[str(kind)][1]}" for kind, rows in kinds)
    found = " to ".join(dict.fromkeys(f"{share:.0%}" for share in (shown["found"].min(), shown["found"].max())))
    scan = tables.sweep.margins.scan if tables.sweep.margins else "even"
    unfound = {"even": "where none was, the distance searched counts", "paper": "the others do not count"}[scan]
    caption = (
        f"L2 in normalised pixels, mean over directions; {range_text(shown['n_models'])} trainings a group; {counts}; "
        "boxes: middle half, lines: middle 80 %; black: 95 % interval of the median, over trainings and images, cut at "
        "the frame; "
        f"a boundary was found in {found} of directions; {unfound}"
    )
    return inscribe(figure, title_of("margins", tables.sweep, common), caption)
