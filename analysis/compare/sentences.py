"""What a comparison found, in sentences with their numbers, and how to read them."""

from __future__ import annotations

import math
import textwrap

from dbviz_ray.formatting import COLUMNS, aligned, interval_text, p_text, percent_text, with_names_above

from ..statistics.intervals import Interval
from ..statistics.precision import Advice
from .scores import PairScores, Scores
from .tables import Rows, cell, image_rows, model_rows, plane_rows

PRECISION = 0.01
MAX_ROWS = 30
"""Rows of a printed table; the files hold all."""
KINDS = {"different": "three images of different classes", "any": "three images", "same": "three images of one class"}
CAVEATS = (
    "Regions and agreement are measured on planes. Regions that are separate in a slice may be connected in the full "
    "space of images, and the other way round. Counts of regions depend on the resolution of the grid; compare them at "
    "one resolution.",
    "Two accurate models agree often because both are right. Cohen's kappa subtracts the agreement that the models' "
    "class frequencies would give by chance. CAPA, on the images, subtracts the agreement that their accuracies would "
    "give if their errors were independent (0: as if independent, 1: the same predictions).",
    "Models that predict one class everywhere agree trivially: read the errors beside the reproducibility.",
    "Wins are images that the old model gets wrong and the new one right; losses are the reverse; the rest of the "
    "churn goes from one error to another. The p-value beside them is from the exact McNemar test of equal accuracy; "
    "the p-value beside the regions is from a paired t-test over planes.",
)


def answer(scores: Scores, plane_classes: str) -> str:
    """What was found, in one paragraph."""
    parts = _about_a_pair(scores, plane_classes) if len(scores.pairs) == 1 else _about_several(scores, plane_classes)
    constant = [model.name for model in scores.models if model.classes_predicted == 1]
    warnings = [f"Beware: {name} predicts one class everywhere, so its agreement is trivial." for name in constant]
    return " ".join([*parts, *warnings])


def how_to_read(scores: Scores) -> list[str]:
    """What the intervals cover, and the caveats; a paragraph each."""
    planes, side = scores.shape
    sample = f"a sample of {planes:,} planes of {side} x {side} points"
    images = f"those of error, churn, wins, losses and CAPA cover other images (a sample of {scores.images:,})"
    if len(scores.models) == 2:
        about = (
            f"Brackets are 95 % intervals. Those of reproducibility, kappa and regions cover other planes ({sample}); "
            f"{images}. None of them covers other trainings: one pair of models does not show how much the next pair "
            "would differ. Give three or more trainings for that."
        )
    else:
        about = (
            "Brackets are 95 % intervals. In the rows of models and pairs, those of reproducibility, kappa and regions "
            f"cover other planes ({sample}); {images}. The interval of the overall reproducibility also treats the "
            f"{len(scores.models)} models as a sample, which is right if they are trainings of one kind. The p-values "
            f"of the {len(scores.pairs)} pairs are corrected for their number (Holm)."
        )
    return [about, *CAVEATS]


def precision_text(scores: Scores, precision: float) -> str:
    """How precise the reproducibility is, and how many planes or models a wanted precision needs."""
    overall = scores.advice(precision)
    planes, models = scores.shape[0], len(scores.models)
    if overall.interval.value == 1:
        them = "they" if len(scores.pairs) == 1 else "any two of them"
        return f"On none of the {planes:,} planes did {them} differ."
    if len(scores.pairs) == 1:
        return f"With {planes:,} planes the reproducibility {_known(overall)}."
    pair, worst = scores.advice_on_worst_pair(precision)
    return (
        f"With {models} models and {planes:,} planes the overall reproducibility {_known(overall)}. The least precise "
        f"pair, {_both(pair)}, {_known(worst)}."
    )


def _known(advice: Advice) -> str:
    """The half-width, and what the wanted one needs."""
    known, wanted = f"is known to ±{_half_width(advice)}", f"±{advice.wanted:g}"
    if advice.reach == 0:
        return "is the same on every plane, and these are too few for an interval"
    if advice.is_useless:
        known = "could be anything: these are too few for an interval"
    if advice.reach <= advice.wanted:
        return f"{known}, within the wanted {wanted}"
    ways = [f"{advice.items:,} planes"] if advice.items else []
    ways += [f"{advice.models:,} models"] if advice.models else []
    ways += [f"{advice.both[0]:,} models and {advice.both[1]:,} planes together"] if advice.both else []
    if not ways:
        return f"{known}; {wanted} is out of reach"
    hopeless = "; more planes alone do not reach it" if not advice.items else ""
    return f"{known}; {wanted} needs {' or '.join(ways)}{hopeless}"


def _half_width(advice: Advice) -> str:
    """Two significant digits, at least three decimals, and one more where it would look like the wanted one."""
    digits = max(3, 1 - math.floor(math.log10(advice.reach))) if advice.reach > 0 else 3
    alike = advice.reach > advice.wanted and round(advice.reach, digits) == round(advice.wanted, digits)
    return f"{advice.reach:.{digits + alike}f}"


def _about_a_pair(scores: Scores, plane_classes: str) -> list[str]:
    pair, (old, new) = scores.pairs[0], scores.models
    on_images, planes = pair.on_images, _planes(scores, plane_classes)
    if pair.reproducibility.value == 1 and on_images.churn.value == 0:
        return [
            f"{_both(pair)} predict the same class on every point of {planes} and on every one of the "
            f"{scores.images:,} images: nothing here tells them apart. Both have an error of {_percent(old.error)} and "
            f"{old.regions.value:.2f} regions a plane."
        ]
    if pair.reproducibility.value == 1:
        on_planes = (
            f"{_both(pair)} predict the same class on every point of {planes}: on none of the {scores.shape[0]:,} "
            "planes did they differ."
        )
    else:
        on_planes = (
            f"{_both(pair)} predict the same class on {_percent(pair.reproducibility)} of the points of {planes} "
            f"(Cohen's kappa {cell(pair.kappa, 2)})."
        )
    other = max(0.0, on_images.churn.value - on_images.wins.value - on_images.losses.value)
    right = [1 - model.error.value for model in (old, new)]
    chance = "more than chance explains" if on_images.p_value < 0.05 else "no more than chance may explain"
    change = f"difference {cell(pair.regions_change, 2, signed=True)}"
    if math.isnan(pair.regions_p):
        regions = f"; these are too few planes to tell whether they differ beyond chance ({change})"
    else:
        chance_of_regions = "differ beyond chance" if pair.regions_p < 0.05 else "do not differ beyond chance"
        regions = f", which {chance_of_regions} ({change}, {_p(pair.regions_p)})"
    return [
        on_planes,
        f"On the {scores.images:,} images themselves, going from {pair.old} to {pair.new} changes "
        f"{_percent(on_images.churn)} of the predictions: {_percent(on_images.wins)} become right, "
        f"{_percent(on_images.losses)} become wrong, {other:.1%} go from one error to another.",
        f"The accuracy goes from {right[0]:.1%} to {right[1]:.1%}, by {_points(pair.accuracy_change)}, {chance} (exact "
        f"McNemar test, {_p(on_images.p_value)}).",
        f"A plane has {old.regions.value:.2f} and {new.regions.value:.2f} regions{regions}.",
        "The intervals cover other planes and other images, not other trainings.",
    ]


def _about_several(scores: Scores, plane_classes: str) -> list[str]:
    ranked = sorted(scores.pairs, key=lambda pair: pair.reproducibility.value)
    churn = sorted(scores.pairs, key=lambda pair: pair.on_images.churn.value)
    regions = sorted(scores.models, key=lambda model: model.regions.value)
    errors = sorted(scores.models, key=lambda model: model.error.value)
    on_images = f"{_percent(scores.agreement_on_images)} of the {scores.images:,} images themselves"
    if scores.reproducibility.value == 1:
        on_planes = [
            f"On none of {_planes(scores, plane_classes)} did any two of these {len(scores.models)} models differ; two "
            f"of them predict the same class on {on_images}."
        ]
    else:
        on_planes = [
            f"Two of these {len(scores.models)} models predict the same class on {_percent(scores.reproducibility)} of "
            f"the points of {_planes(scores, plane_classes)}, and on {on_images} (intervals over models and planes, or "
            "images).",
            f"On the planes {_both(ranked[-1])} are most alike ({_percent(ranked[-1].reproducibility)}), "
            f"{_both(ranked[0])} least ({_percent(ranked[0].reproducibility)}).",
        ]
    return [
        *on_planes,
        f"Going from one to another changes between {churn[0].on_images.churn.value:.1%} and "
        f"{churn[-1].on_images.churn.value:.1%} of the predictions.",
        f"The errors range from {errors[0].error.value:.1%} ({errors[0].name}) to {errors[-1].error.value:.1%} "
        f"({errors[-1].name}), the regions of a plane from {regions[0].regions.value:.2f} ({regions[0].name}) to "
        f"{regions[-1].regions.value:.2f} ({regions[-1].name}).",
    ]


def _planes(scores: Scores, plane_classes: str) -> str:
    return f"{scores.shape[0]:,} planes through {KINDS[plane_classes]}"


def _both(pair: PairScores) -> str:
    return f"{pair.old} and {pair.new}"


def _percent(interval: Interval) -> str:
    return percent_text(interval.value, interval.low, interval.high)


def _points(interval: Interval) -> str:
    value, low, high = (100 * end for end in (interval.value, interval.low, interval.high))
    return interval_text(value, low, high, 1, unit=" points", signed=True)


def _p(value: float) -> str:
    return f"p {p_text(value)}" if value < 0.001 else f"p = {p_text(value)}"


def text_report(scores: Scores, plane_classes: str, precision: float = PRECISION) -> str:
    """The answer, the tables, and how many planes `precision` needs, as lines for a terminal."""
    planes, side = scores.shape
    blocks = [
        textwrap.fill(answer(scores, plane_classes), COLUMNS, break_long_words=False, break_on_hyphens=False),
        "\n".join(aligned(_cut(model_rows(scores), "models"), narrowest=5)),
        f"on {planes:,} planes of {side} x {side} points\n{_pairs_table(plane_rows(scores))}",
        f"on {scores.images:,} images\n{_pairs_table(image_rows(scores))}",
        textwrap.fill(precision_text(scores, precision), COLUMNS, break_on_hyphens=False),
    ]
    return "\n\n".join(blocks)


def _pairs_table(rows: Rows) -> str:
    return "\n".join(with_names_above(_cut(rows, "pairs")))


def _cut(rows: Rows, called: str) -> Rows:
    more = len(rows) - 1 - MAX_ROWS
    return rows if more <= 0 else [*rows[: 1 + MAX_ROWS], [f"and {more} more {called}", *[""] * (len(rows[0]) - 1)]]
