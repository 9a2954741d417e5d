"""What a comparison found, in plain words with its numbers, and how to read them."""

from __future__ import annotations

import math

from analysis.comparing import PairScores, Scores
from analysis.intervals import Interval
from analysis.report.rows import p_text, shown

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
    """How many planes reach a precision, and what no number of planes mends."""
    planes = scores.shape[0]
    needed = scores.planes_needed(precision)
    reach = max((pair.reproducibility.high - pair.reproducibility.low) / 2 for pair in scores.pairs)
    known = "With" if len(scores.pairs) == 1 else "For every pair, with"
    text = f"{known} {planes:,} planes the reproducibility is known to {_points(reach)}; {_points(precision)}"
    text += f" needs {needed:,} planes" + (", which these are enough for." if needed <= planes else ".")
    if not math.isnan(scores.reach_of_models):
        text += (
            f" Of the overall interval, {_points(scores.reach_of_models)} is owed to the models: more planes do not "
            "narrow that, more models do."
        )
    return text


def _of_a_pair(scores: Scores, plane_classes: str) -> list[str]:
    pair, (old, new) = scores.pairs[0], scores.models
    on_images = pair.on_images
    other = max(0.0, on_images.churn.value - on_images.wins.value - on_images.losses.value)
    right = [1 - model.error.value for model in (old, new)]
    chance = (
        f"more than chance explains (exact McNemar test, p {_p(on_images.p_value)})"
        if on_images.p_value < 0.05
        else f"no more than chance may explain (exact McNemar test, p {_p(on_images.p_value)})"
    )
    regions = "differ beyond chance" if pair.regions_p < 0.05 else "do not differ beyond chance"
    return [
        f"{pair.old} and {pair.new} predict the same class on {_percent(pair.reproducibility)} of the points of "
        f"{_planes(scores, plane_classes)} (Cohen's kappa {shown(pair.kappa, 2)}).",
        f"On the {scores.images:,} images themselves, going from {pair.old} to {pair.new} changes "
        f"{_percent(on_images.churn)} of the predictions: {_percent(on_images.wins)} become right, "
        f"{_percent(on_images.losses)} become wrong, {other:.1%} go from one error to another.",
        f"The accuracy goes from {right[0]:.1%} to {right[1]:.1%}, {chance}.",
        f"A plane has {old.regions.value:.2f} and {new.regions.value:.2f} regions, which {regions} "
        f"(difference {shown(pair.regions_change, 2, signed=True)}, p {_p(pair.regions_p)}).",
        "The intervals are about other planes and other images, not about other trainings.",
    ]


def _of_several(scores: Scores, plane_classes: str) -> list[str]:
    ranked = sorted(scores.pairs, key=lambda pair: pair.reproducibility.value)
    churn = sorted(scores.pairs, key=lambda pair: pair.on_images.churn.value)
    regions = sorted(scores.models, key=lambda model: model.regions.value)
    errors = sorted(scores.models, key=lambda model: model.error.value)
    return [
        f"Two of these {len(scores.models)} models predict the same class on {_percent(scores.reproducibility)} of the "
        f"points of {_planes(scores, plane_classes)}, and on {_percent(scores.agreement_on_images)} of the "
        f"{scores.images:,} images themselves (intervals over models and planes, or images).",
        f"On the planes, most alike are {_both(ranked[-1])} ({_percent(ranked[-1].reproducibility)}), least alike "
        f"{_both(ranked[0])} ({_percent(ranked[0].reproducibility)}).",
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
    return f"{interval.value:.1%} [{100 * interval.low:.1f}, {100 * interval.high:.1f}]"


def _points(share: float) -> str:
    """A distance between shares: `±0.8 points`."""
    return f"±{100 * share:.2g} points"


def _p(value: float) -> str:
    text = p_text(value)
    return text if text.startswith("<") else f"= {text}"
