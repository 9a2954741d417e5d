"""What people see of a comparison: data frames with every number, short tables, and sentences."""

import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from dbviz_ray.formatting import aligned, p_text, paragraph, with_names_above

from ..predictions.rendering import Rows, cell, phrase
from ..scores.votes import flips, image_scores
from ..statistics.intervals import Advice, Interval
from .scores import Scores

PRECISION = 0.01
MAX_ROWS = 30
"""Rows of a printed table; the files hold all."""
KINDS = {"different": "three images of different classes", "any": "three images", "same": "three images of one class"}
"""What a plane goes through, by the option `classes`."""
OF_PAIRS = (
    *("old", "new", "reproducibility", "kappa", "on_images.agreement"),
    *("on_images.churn", "on_images.wins", "on_images.losses"),
    *("on_images.accuracy_change", "on_images.p_value", "on_images.p_holm", "on_images.capa"),
    *("regions_change", "regions_p", "regions_p_holm"),
)
COLUMNS = {
    "name": "model",
    "largest_share": "largest_region_share",
    "agreement": "agreement_on_images",
    "p_value": "mcnemar_p",
    "p_holm": "mcnemar_p_holm",
}
"""The columns of frames that are not called as the attributes of scores."""


def models_frame(scores: Scores) -> pd.DataFrame:
    """A row for each model."""
    return _frame(scores, scores.models, ("name", "error", "regions", "largest_share", "classes_predicted"))


def pairs_frame(scores: Scores) -> pd.DataFrame:
    """A row for each pair, the old model before the new one."""
    return _frame(scores, scores.pairs, OF_PAIRS)


def images_frame(scores: Scores) -> pd.DataFrame:
    """A row for each image: how the models vote on it, and what becomes of it from the first model to the last."""
    predicted, truth = scores.predicted, scores.truth
    classes = 1 + int(max(predicted.max(), 0 if truth is None else truth.max()))
    known = {} if truth is None else {"label": truth}
    (old, *_, new), image = predicted, np.arange(scores.images)
    votes = image_scores(predicted, classes, truth)
    return pd.DataFrame({"image": image, **known, **votes, "old": old, "new": new, "flip": flips(old, new, truth)})


def _frame(scores: Scores, items: Sequence[Any], attributes: Sequence[str]) -> pd.DataFrame:
    """These attributes of the items, three columns for an interval, and the numbers of images and planes."""
    columns: dict[str, list[Any]] = {}
    for attribute in attributes:
        last = attribute.rpartition(".")[2]
        name, values = COLUMNS.get(last, last), list(map(attrgetter(attribute), items))
        columns[name] = [getattr(value, "value", value) for value in values]
        if isinstance(values[0], Interval):
            columns |= {f"{name}_{end}": list(map(attrgetter(end), values)) for end in ("low", "high")}
    return pd.DataFrame(columns | {"n_images": scores.images, "n_planes": scores.shape[0]})


def tables(scores: Scores, most: int = MAX_ROWS) -> dict[str, Rows]:
    """Models, pairs on planes, and pairs on images, by their titles: a head, and at most so many rows."""
    planes, side = scores.shape
    p = "p (Holm)" if len(scores.pairs) > 1 else "p"
    models: Rows = [["", "error", "regions a plane", "largest region"]]
    on_planes: Rows = [["old, new", "reproducibility", "Cohen's kappa", "regions, new - old", p]]
    on_images: Rows = [["old, new", "churn", "wins", "losses", p, "beyond accuracy (CAPA)"]]
    models += [[m.name, cell(m.error), cell(m.regions, 2), cell(m.largest_share)] for m in scores.models[:most]]
    for pair in scores.pairs[:most]:
        called, images = f"{pair.old}, {pair.new}", pair.on_images
        regions = cell(pair.regions_change, 2, signed=True)
        on_planes.append([called, cell(pair.reproducibility), cell(pair.kappa), regions, p_text(pair.regions_p_holm)])
        shares = map(cell, (images.churn, images.wins, images.losses))
        on_images.append([called, *shares, p_text(images.p_holm), cell(images.capa)])
    for rows, count in ((models, len(scores.models)), (on_planes, len(scores.pairs)), (on_images, len(scores.pairs))):
        if count > most:
            rows.append([f"and {count - most:,} more", *[""] * (len(rows[0]) - 1)])
    return {
        "models": models,
        f"pairs on {planes:,} planes of {side} x {side} points": on_planes,
        f"pairs on {scores.images:,} images": on_images,
    }


def answer(scores: Scores, plane_classes: str) -> str:
    """What was found, in one paragraph."""
    return phrase("comparison_answer.txt", 1, scores=scores, kind=KINDS[plane_classes])


def precision_text(scores: Scores, precision: float) -> str:
    """How precise the reproducibility is, and how many planes or models a wanted precision needs."""
    pair, worst = scores.advice_on_worst_pair(precision)
    overall = scores.advice(precision)
    return phrase(
        "comparison_precision.txt", 1, scores=scores, overall=overall, pair=pair, worst=worst, half_width=_half_width
    )


def _half_width(advice: Advice) -> str:
    """Two significant digits, at least three decimals, and one more where it would look like the wanted one."""
    digits = max(3, 1 - math.floor(math.log10(advice.reach)))
    alike = advice.reach > advice.wanted and round(advice.reach, digits) == round(advice.wanted, digits)
    return f"{advice.reach:.{digits + alike}f}"


def text_report(scores: Scores, plane_classes: str, precision: float = PRECISION, remarks: Sequence[str] = ()) -> str:
    """The answer, the tables, how many planes `precision` needs, and the remarks, as lines for a terminal."""
    (_, models), (planes, on_planes), (images, on_images) = tables(scores).items()
    blocks = [
        paragraph(answer(scores, plane_classes)),
        "\n".join(aligned(models, narrowest=5)),
        "\n".join([planes, *with_names_above(on_planes)]),
        "\n".join([images, *with_names_above(on_images)]),
        *map(paragraph, (precision_text(scores, precision), *remarks)),
    ]
    return "\n\n".join(blocks)
