"""The files of a comparison: the numbers as JSON, CSV and text first, then pictures and one HTML report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from dbviz_ray.store import Store

from ..figures import DOTS
from ..figures.drawing import encoded
from ..figures.reproducibility_matrix import FEW
from ..report.folders import csv_of, json_of, made, writing, written
from ..report.page import Illustration, render
from ..statistics.intervals import Advice
from .comparison import Comparison
from .rendering import KINDS, answer, images_frame, models_frame, pairs_frame, precision_text, tables, text_report

RESULT, TEXT, MODELS, PAIRS, IMAGES = "comparison.json", "comparison.txt", "models.csv", "pairs.csv", "images.csv"
REGIONS, BY_PLANE, MATRIX, REPORT = "regions.png", "agreement_by_plane.png", "reproducibility.png", "report.html"
CONTESTED = "contested_images.png"
UNFINISHED = "labels.npz"
"""Labels of an interrupted comparison; the same command continues with them."""
FILES = (RESULT, TEXT, MODELS, PAIRS, IMAGES, REGIONS, BY_PLANE, CONTESTED, MATRIX, REPORT, UNFINISHED)
MOST_ROWS, MOST_IN_MATRIX = 1000, 60
"""Rows of a table in the report, and models in the picture of all pairs; the CSV files hold all."""
KIND = "dbviz_ray comparison"
"""Marks a RESULT as ours."""


@dataclass(frozen=True)
class Inputs:
    """What was compared, and the command that did it."""

    command: str
    arguments: Mapping[str, Any]
    """The settings; `precision` is the wanted half-width of the reproducibility's interval."""
    images: str
    """A few words about them."""
    data: Mapping[str, Any]
    checkpoints: Sequence[Mapping[str, Any]]
    """For each model its name, file and hash, and what built its network."""


def write_numbers(store: Store, comparison: Comparison, inputs: Inputs) -> list[str]:
    """Write all numbers in place of an earlier comparison, and return the files' names."""
    precision = inputs.arguments["precision"]
    result = {
        "kind": KIND,
        "command": inputs.command,
        "arguments": inputs.arguments,
        "checkpoints": inputs.checkpoints,
        "data": {"images": inputs.images, **inputs.data},
        "remarks": comparison.remarks,
        "provenance": made(),
        "planes": comparison.shape[0],
        "reproducibility": comparison.reproducibility,
        "agreement_on_images": comparison.agreement_on_images,
        "advice": _advice(comparison.advice(precision)),
        "advice_on_the_worst_known_pair": _advice(comparison.advice_on_worst_pair(precision)[1]),
        "models": comparison.models,
        "pairs": comparison.pairs,
    }
    text = text_report(comparison, comparison.drawn.classes, precision, comparison.remarks)
    files = {
        RESULT: json_of(result),
        TEXT: f"{text}\n".encode(),
        MODELS: csv_of(models_frame(comparison)),
        PAIRS: csv_of(pairs_frame(comparison)),
        IMAGES: csv_of(images_frame(comparison)),
    }
    with writing(store):
        for name in set(FILES) - set(files):  # an earlier RESULT stays, which marks the folder as ours
            store.remove(name)
    return written(store, files)


def write_pictures(store: Store, comparison: Comparison, inputs: Inputs, regions: Figure | None) -> list[str]:
    """Write the pictures, none if `regions` is None, and the report with them, and return the files' names."""
    pictures = {} if regions is None else _pictures(comparison, regions)
    checkpoints = [(facts["name"], f"{facts['checkpoint']}, sha256 {facts['sha256']}") for facts in inputs.checkpoints]
    images = ("images", ", ".join([inputs.images, *[json.dumps(dict(inputs.data), default=str)] * bool(inputs.data)]))
    report = render(
        "comparison.html",
        title=" and ".join(comparison.names) if len(comparison.models) == 2 else f"{len(comparison.models)} models",
        comparison=comparison,
        kind=KINDS[comparison.drawn.classes],
        answer=answer(comparison, comparison.drawn.classes),
        precision=precision_text(comparison, inputs.arguments["precision"]),
        tables=tables(comparison, MOST_ROWS),
        pictures=list(pictures.values()),
        inputs=inputs,
        origin=[*checkpoints, images, *made().items()],
    )
    return written(store, {name: picture.content for name, picture in pictures.items()} | {REPORT: report.encode()})


def _advice(found: Advice) -> dict[str, Any]:
    return {"precision": found.wanted, "reach": found.reach, "planes": found.items, "models": found.models}


def _pictures(comparison: Comparison, regions: Figure) -> dict[str, Illustration]:
    """PNGs by file name."""
    found, several = {}, len(comparison.models) > 2
    if several and len(comparison.models) <= MOST_IN_MATRIX:
        half_width = "; ±: half a 95 % interval over planes" * (len(comparison.models) <= FEW)
        caption = f"Reproducibility of every two models{half_width}."
        found[MATRIX] = comparison.matrix(), "reproducibility of every two models", caption
    differing = " (the darker, the more pairs)" if several else ", in the colour of the second model's prediction"
    caption = (
        "Decision regions on planes through the framed images: the first plane drawn, which nobody chose, the plane "
        f"with the least agreement, and the one in the middle. Right: where the models disagree{differing}."
    )
    found[REGIONS] = regions, "decision regions", caption
    mean = "" if several else "; dotted: the mean over planes, which is the reproducibility"
    caption = f"Planes, sorted by the agreement of the models{mean}."
    found[BY_PLANE] = comparison.by_plane(), "agreement, plane by plane", caption
    contested = comparison.contested()
    if contested is not None:
        caption = "The images on which the models disagree most, of those that planes go through; of equals the first."
        found[CONTESTED] = contested, "the most contested images", caption
    return {name: Illustration(encoded(of, "png"), seen, said, DOTS) for name, (of, seen, said) in found.items()}
