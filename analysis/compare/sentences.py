"""What a comparison found, in plain words with its numbers, and how to read them."""

from __future__ import annotations

import math
import textwrap

from dbviz_ray.formatting import COLUMNS, aligned, with_names_above

from ..statistics.intervals import Interval
from ..statistics.precision import Advice
from .scores import PairScores, Scores
from .tables import Rows, decimals, image_rows, is_telling, model_rows, p_text, plane_rows, shown

KINDS = {"different": "three images of different classes", "any": "three images", "same": "three images of one class"}

CAVEATS = (
    "Regions and agreement are those of planes: what is apart in a slice may be joined in the full space of images, "
    "and the other way round. Counts of regions depend on the resolution of the grid; compare them at one resolution.",
    "Two accurate models agree on much by being right. Cohen's kappa takes off the agreement that their shares of the "
    "classes would give by chance; CAPA, on the images, the agreement that their accuracies would give if their errors "
    "were independent (0: as if independent, 1: the same predictions).",
    "Models that predict one class everywhere agree perfectly and mean nothing by it: look at the errors beside the "
    "reproducibility.",
    "Wins are images that the old model gets wrong and the new one right, losses the reverse; the rest of the churn "
    "goes from one error to another. The p-value beside them is that of the exact McNemar test of equal accuracy, the "
    "one beside the regions that of a paired t-test over planes.",
)


def answer(scores: Scores, plane_classes: str) -> str:
    """One paragraph."""
    parts = _of_a_pair(scores, plane_classes) if len(scores.pairs) == 1 else _of_several(scores, plane_classes)
    return " ".join([*parts, *_warnings(scores)])


def reading(scores: Scores) -> list[str]:
    """Which samples the intervals are about, and the caveats; a paragraph each."""
    planes, side = scores.shape
    sample = f"{planes:,} planes of {side} x {side} points"
    images = f"those of error, churn, wins, losses and CAPA about other images (a sample of {scores.images:,})"
    if len(scores.models) == 2:
        about = (
            "Every bracket is a 95 % interval. Those of reproducibility, kappa and regions are about other planes "
            f"(these are a sample of {sample}), {images}. None of them is about other trainings: one pair of models "
            "does not tell how much the next pair would differ. Give three or more trainings for that."
        )
    else:
        about = (
            "Every bracket is a 95 % interval. In the rows of models and pairs, those of reproducibility, kappa and "
            f"regions are about other planes (a sample of {sample}), {images}. The interval of the overall "
            f"reproducibility takes the {len(scores.models)} models as a sample too, which they are if they are "
            f"trainings of one kind. The p-values of {len(scores.pairs)} pairs are corrected for their number (Holm)."
        )
    return [about, *CAVEATS]


def advice(scores: Scores, precision: float) -> str:
    """How well the reproducibility is known, and how many planes or models a precision needs."""
    overall = scores.advice(precision)
    planes, models = scores.shape[0], len(scores.models)
    if overall.interval.value == 1:
        them = "they" if len(scores.pairs) == 1 else "any two of them"
        return f"On none of the {planes:,} planes did {them} differ."
    if len(scores.pairs) == 1:
        return f"With {planes:,} planes the reproducibility {_known(overall)}."
    pair, worst = scores.advice_on_worst_pair(precision)
    return (
        f"With {models} models and {planes:,} planes the overall reproducibility {_known(overall)}. That of the pair "
        f"known worst, {_both(pair)}, {_known(worst)}."
    )


def _known(advice: Advice) -> str:
    """The reach, and what the wanted one needs."""
    known, wanted = f"is known to ±{_reach(advice)}", f"±{advice.wanted:g}"
    if advice.reach == 0:
        return "is the same on every plane, and these are too few to tell how well it is known"
    if advice.is_useless:
        known = "could be anything, since so few do not tell how much others would differ"
    if advice.reach <= advice.wanted:
        return f"{known}, which is within the wanted {wanted}"
    ways = [f"{advice.items:,} planes"] if advice.items else []
    ways += [f"{advice.models:,} models"] if advice.models else []
    ways += [f"{advice.both[0]:,} models and {advice.both[1]:,} planes together"] if advice.both else []
    if not ways:
        return f"{known}; {wanted} is out of reach"
    hopeless = "; more planes alone do not reach it" if not advice.items else ""
    return f"{known}; {wanted} needs {' or '.join(ways)}{hopeless}"


def _reach(advice: Advice) -> str:
    """With two significant digits, at least three decimals, and one more where it would look like the wanted one."""
    digits = max(3, 1 - math.floor(math.log10(advice.reach))) if advice.reach > 0 else 3
    alike = advice.reach > advice.wanted and f"{advice.reach:.{digits}f}" == f"{advice.wanted:.{digits}f}"
    return f"{advice.reach:.{digits + alike}f}"


def _of_a_pair(scores: Scores, plane_classes: str) -> list[str]:
    pair, (old, new) = scores.pairs[0], scores.models
    on_images = pair.on_images
    if pair.reproducibility.value == 1 and on_images.churn.value == 0:
        return [
            f"{pair.old} and {pair.new} predict the same class on every point of {_planes(scores, plane_classes)} and "
            f"on every one of the {scores.images:,} images: nothing here tells them apart. Both have an error of "
            f"{_percent(old.error)} and {old.regions.value:.2f} regions a plane."
        ]
    if pair.reproducibility.value == 1:
        on_planes = (
            f"{pair.old} and {pair.new} predict the same class on every point of {_planes(scores, plane_classes)}: on "
            f"none of the {scores.shape[0]:,} planes did they differ."
        )
    else:
        on_planes = (
            f"{pair.old} and {pair.new} predict the same class on {_percent(pair.reproducibility)} of the points of "
            f"{_planes(scores, plane_classes)} (Cohen's kappa {shown(pair.kappa, 2)})."
        )
    other = max(0.0, on_images.churn.value - on_images.wins.value - on_images.losses.value)
    right = [1 - model.error.value for model in (old, new)]
    chance = (
        f"more than chance explains (exact McNemar test, p {_p(on_images.p_value)})"
        if on_images.p_value < 0.05
        else f"no more than chance may explain (exact McNemar test, p {_p(on_images.p_value)})"
    )
    change = f"difference {shown(pair.regions_change, 2, signed=True)}"
    if math.isnan(pair.regions_p):
        regions = f"; these are too few planes to tell whether they differ beyond chance ({change})"
    else:
        chance_of_regions = "differ beyond chance" if pair.regions_p < 0.05 else "do not differ beyond chance"
        regions = f", which {chance_of_regions} ({change}, p {_p(pair.regions_p)})"
    return [
        on_planes,
        f"On the {scores.images:,} images themselves, going from {pair.old} to {pair.new} changes "
        f"{_percent(on_images.churn)} of the predictions: {_percent(on_images.wins)} become right, "
        f"{_percent(on_images.losses)} become wrong, {other:.1%} go from one error to another.",
        f"The accuracy goes from {right[0]:.1%} to {right[1]:.1%}, by {_points(pair.accuracy_change)}, {chance}.",
        f"A plane has {old.regions.value:.2f} and {new.regions.value:.2f} regions{regions}.",
        "The intervals are about other planes and other images, not about other trainings.",
    ]


def _of_several(scores: Scores, plane_classes: str) -> list[str]:
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
            f"On the planes, most alike are {_both(ranked[-1])} ({_percent(ranked[-1].reproducibility)}), least alike "
            f"{_both(ranked[0])} ({_percent(ranked[0].reproducibility)}).",
        ]
    return [
        *on_planes,
        f"Going from one to another changes between {churn[0].on_images.churn.value:.1%} and "
        f"{churn[-1].on_images.churn.value:.1%} of the predictions.",
        f"The errors go from {errors[0].error.value:.1%} ({errors[0].name}) to {errors[-1].error.value:.1%} "
        f"({errors[-1].name}), the regions of a plane from {regions[0].regions.value:.2f} ({regions[0].name}) to "
        f"{regions[-1].regions.value:.2f} ({regions[-1].name}).",
    ]


def _warnings(scores: Scores) -> list[str]:
    constant = [model.name for model in scores.models if model.classes_predicted == 1]
    return [
        f"Beware: {name} predicts one class everywhere, so its agreement with others means nothing."
        for name in constant
    ]


def _planes(scores: Scores, plane_classes: str) -> str:
    return f"{scores.shape[0]:,} planes through {KINDS[plane_classes]}"


def _both(pair: PairScores) -> str:
    return f"{pair.old} and {pair.new}"


def _percent(interval: Interval) -> str:
    value, low, high = (decimals(100 * end, 1) for end in (interval.value, interval.low, interval.high))
    return f"{value}% [{low}, {high}]" if is_telling(interval) else f"{value}%"


def _points(interval: Interval) -> str:
    value, low, high = (decimals(100 * end, 1, signed=True) for end in (interval.value, interval.low, interval.high))
    return f"{value} points [{low}, {high}]" if is_telling(interval) else f"{value} points"


def _p(value: float) -> str:
    text = p_text(value)
    return text if text.startswith("<") else f"= {text}"


MAX_ROWS = 30
"""Of one table; the rest is in the files."""
PRECISION = 0.01


def text_report(scores: Scores, plane_classes: str, precision: float = PRECISION) -> str:
    """The answer, the tables, and how many planes `precision` needs."""
    planes, side = scores.shape
    blocks = [
        textwrap.fill(answer(scores, plane_classes), COLUMNS, break_long_words=False, break_on_hyphens=False),
        "\n".join(aligned(_cut(model_rows(scores), "models"), narrowest=5)),
        "\n".join(
            [
                f"on {planes:,} planes of {side} x {side} points",
                *with_names_above(_cut(plane_rows(scores), "pairs")),
            ]
        ),
        "\n".join([f"on {scores.images:,} images", *with_names_above(_cut(image_rows(scores), "pairs"))]),
        textwrap.fill(advice(scores, precision), COLUMNS, break_on_hyphens=False),
    ]
    return "\n\n".join(blocks)


def _cut(rows: Rows, called: str) -> Rows:
    more = len(rows) - 1 - MAX_ROWS
    return rows if more <= 0 else [*rows[: 1 + MAX_ROWS], [f"and {more} more {called}", *[""] * (len(rows[0]) - 1)]]
