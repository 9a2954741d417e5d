"""Findings as sentences, each under the question that it answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from dbviz_ray.formatting import interval_text, listed, p_text, percent_text

from .curves import PEAK, THRESHOLD_ERROR
from .rows import Finding, Kind, Number, Subject

MAX_NAMED = 6
"""Groups that one sentence names."""

RATES_QUESTION, LEFT_OUT_QUESTION = "Which learning rate is best?", "Which trainings are left out or tell nothing?"
QUESTIONS = {
    Kind.OVER_WIDTH: "Is a wider network better, and more reproducible?",
    Kind.OVER_EPOCHS: "Is a longer training better, and more reproducible?",
    Kind.EPOCH_CURVES: "Is a longer training better, and more reproducible?",
    Kind.AGREEMENT: "Does training again give the same model?",
    Kind.BETWEEN_KINDS: "Do networks of different kinds learn the same?",
    Kind.PLANE_SETS: "What changes on other planes?",
    Kind.RATES_AT_END: RATES_QUESTION,
    Kind.RATES_BY_TEST_ERROR: RATES_QUESTION,
    Kind.DISTILLATION: "Do students resemble their teachers?",
    Kind.SHARPNESS: "How flat are the minima?",
    Kind.MARGINS: "How far are images from the decision boundary?",
    Kind.STREAMS: "Which source of randomness changes the model most?",
    Kind.RESOLUTION: "Is the grid fine enough to count regions?",
    Kind.LEFT_OUT: LEFT_OUT_QUESTION,
    Kind.CONSTANT: LEFT_OUT_QUESTION,
}
"""Kinds without a question have no sentence; only tables show them."""
STREAM_NAMES = {
    "init": "initialisation",
    "order": "data order",
    "augmentation": "augmentation",
    "dropout": "dropout",
    "label_noise": "label noise",
}
COVERS = {"models and planes": "seeds and planes", "planes": "planes"}


def sentence(finding: Finding) -> str:
    """The subject and what was found, such as "width 4: two trainings agree on 91.0%"."""
    return ": ".join(filter(None, (subject_text(finding.subject), told(finding))))


def subject_text(subject: Subject) -> str:
    """Such as "net, width 4, label noise 0.2, test planes"; "" for the whole sweep."""
    parts = list(subject.name)
    if "label_noise" in subject.keys:
        parts.append(f"label noise {subject.keys['label_noise']:g}")
    if "plane_set" in subject.keys:
        parts.append(f"{subject.keys['plane_set']} planes")
    return ", ".join(parts)


def told(finding: Finding) -> str:
    """The sentence without its subject; "" for a kind without a question."""
    return _TEXTS[finding.kind](finding) if finding.kind in _TEXTS else ""


def _over_axis(finding: Finding) -> str:
    axis, tested_on = finding.condition["axis"], finding.condition["tested_on"]
    descent = "double descent" if axis == "width" else "double descent over the epochs"
    errors = finding.of("test_error")
    last = errors[-1]
    at_last = finding.number(last.role, "reproducibility")
    if not finding.condition["peak"]:
        lowest = min(errors, key=lambda error: error.value)
        low = f"is lowest, {_percent(lowest)}, {_at(lowest, axis)} and " if axis == "epoch" else ""
        beyond = "the intervals" if finding.condition["intervals_only"] else "chance"
        agree = (
            "" if math.isnan(at_last.value) else f", where two trainings agree on {_percent(at_last, 0)} of the points"
        )
        return (
            f"no {descent} beyond {beyond}: the {tested_on} error {low}ends at {_percent(last)} {_at(last, axis)}"
            f"{agree}. {_memorised(finding)}"
        )
    peak = finding.number(PEAK, "test_error")
    best = errors[errors.index(peak) - 1]
    p = "" if math.isnan(finding.p) else f" (p {'' if finding.p < 0.001 else '= '}{p_text(finding.p)})"
    text = (
        f"{descent}{p}: the {tested_on} error falls to {_percent(best)} {_at(best, axis)}, peaks at "
        f"{_percent(peak)} {_at(peak, axis)} and falls to {_percent(last)} {_at(last, axis)}."
    )
    at_peak = finding.number(PEAK, "reproducibility")
    if not math.isnan(at_peak.value + at_last.value):
        less = "are less alike: they " if at_peak.high < at_last.low else ""
        text += (
            f" At the peak two trainings {less}agree on {_percent(at_peak, 0)} of the points; {_at(last, axis)} they "
            f"agree on {_percent(at_last, 0)}."
        )
    regions, last_regions = (finding.number(role, "fragmentation") for role in (PEAK, last.role))
    if not math.isnan(regions.value):
        text += f" A plane has {_value(regions)} regions at the peak and {_value(last_regions)} {_at(last, axis)}."
    return f"{text} {_memorised(finding)}"


def _memorised(finding: Finding) -> str:
    axis, threshold = finding.condition["axis"], finding.number("", "interpolation_threshold").value
    where = f"at no {axis}" if math.isnan(threshold) else f"from {axis} {threshold} on"
    return (
        f"The training labels are memorised {where} (interpolation threshold: training error at most "
        f"{THRESHOLD_ERROR:.0%})."
    )


def _epoch_curves(finding: Finding) -> str:
    peaks = len(finding.of("interpolation_threshold", "peak"))
    return f"{peaks} of {len(finding.numbers)} curves over the epochs show double descent beyond the intervals."


def _agreement(finding: Finding) -> str:
    most, *others = finding.numbers
    if not others:
        return f"two trainings of {most.subject} agree on {_percent(most)} of the points."
    return (
        f"two trainings agree most for {most.subject} ({_percent(most)} of the points) and least for "
        f"{others[0].subject} ({_percent(others[0])})."
    )


def _between_kinds(finding: Finding) -> str:
    most, least = finding.numbers
    return (
        f"of trainings of different kinds, those of {most.subject} and {most.comparison} agree most "
        f"({_percent(most)}), those of {least.subject} and {least.comparison} least ({_percent(least)})."
    )


def _plane_sets(finding: Finding) -> str:
    parts = {
        "two trainings agree on this share of the points": [
            f"{_percent(number)} ({number.role})" for number in finding.of("reproducibility")
        ],
        "regions in a plane": [f"{_value(number, 2)} ({number.role})" for number in finding.of("fragmentation")],
    }
    return _parts(parts) + "."


def _rates_at_end(finding: Finding) -> str:
    named = _named(finding.numbers, "{0.value:g}, the {0.role}")
    return (
        f"Some best learning rates lie at an end of their grid. Extend it, since better ones may lie beyond: {named}."
    )


def _rates_by_test_error(finding: Finding) -> str:
    return (
        "The best learning rates are those with the smallest test error. Set dataset.held_out to choose them without "
        "the test images."
    )


def _distillation(finding: Finding) -> str:
    student, control = finding.numbers
    if student.low > control.high:
        verdict = "distilled students resemble their teachers more"
    elif student.high < control.low:
        verdict = "distilled students resemble their teachers less"
    else:
        verdict = "no difference beyond the intervals"
    start = " (both start from the same weights)" if finding.condition["same_start"] else ""
    return (
        f"students ({student.subject}) agree with their own teachers ({student.comparison}) on {_percent(student)} of "
        f"the points{start}, undistilled models ({control.subject}) agree with these teachers on {_percent(control)}: "
        f"{verdict}."
    )


def _sharpness(finding: Finding) -> str:
    each = ", ".join(f"{number.role} {_value(number, 4)}" for number in finding.numbers)
    return f"sharpness (where it is small, the loss rises slowly around the trained weights): {each}."


def _margins(finding: Finding) -> str:
    scores = {
        "measured images": "margin",
        "correctly labelled training images": "margin_correct",
        "mislabelled training images": "margin_mislabelled",
    }
    parts = {
        images: [f"{_value(number, 2)} {_at(number, 'width')}" for number in finding.of(score)]
        for images, score in scores.items()
    }
    share = finding.condition["not_found"]
    beyond = f" (up to {share:.0%} of directions met no other class; they count with the distance searched)"
    return (
        "distance to the point where the predicted class changes (L2 in normalised pixels), "
        f"{_parts(parts)}{beyond if share > 0 else ''}."
    )


def _streams(finding: Finding) -> str:
    scores = {
        "changing one stream alone makes this share of it": "total_share",
        "fixing one stream alone removes this share": "own_share",
    }
    shares = {
        what: [f"{_streams_text(number.subject.keys['stream'])} {_percent(number, 0)}" for number in finding.of(score)]
        for what, score in scores.items()
    }
    covers = " or ".join(COVERS.get(covered, covered) for covered in finding.condition["covers"])
    return (
        f"trainings that differ in everything disagree on {finding.number('all', 'disagreement').value:.1%} of the "
        f"points; {_parts(shares)} (intervals over {covers})."
    )


def _streams_text(together: Sequence[str]) -> str:
    """Random streams that vary together, in words: "data order with augmentation"."""
    return " with ".join(STREAM_NAMES[name] for name in together)


def _resolution(finding: Finding) -> str:
    limit = finding.number("limit", "large_regions")
    grids = zip(finding.of("fragmentation", "grid"), finding.of("large_regions", "grid"), strict=True)
    steps = ", ".join(
        f"{every.subject.keys['resolution']} points a side: {every.value:.2f} ({large.value:.2f})"
        for every, large in grids
    )
    return (
        f"regions in a plane, and large ones in brackets, as the grid gets finer: {steps}; large ones in the limit: "
        f"{_value(limit, 2)}."
    )


def _left_out(finding: Finding) -> str:
    every, *_ = finding.numbers
    what = {"n_diverged": "diverged and are left out", "n_failed": "failed and are left out (table outcomes says why)"}
    return f"{every.value} of {every.n} trainings {what[every.score]}: {_named(finding.numbers[1:])}."


def _constant(finding: Finding) -> str:
    return (
        "Some trainings learned nothing: they predict one class for every test image. Two of them agree trivially; "
        f"kappa leaves such pairs out: {_named(finding.numbers[1:])}."
    )


def _parts(parts: Mapping[str, Sequence[str]]) -> str:
    """Values after the words that say what they are; what has no values is left out."""
    return "; ".join(f"{what}: {', '.join(values)}" for what, values in parts.items() if values)


def _named(numbers: Sequence[Number], note: str = "{0.value} of {0.n}") -> str:
    """The groups, whatever their planes, each with a note on its number."""
    named = [f"{subject_text(number.subject.without('plane_set'))} ({note.format(number)})" for number in numbers]
    return listed(named, MAX_NAMED, "; ")


def _at(number: Number, axis: str) -> str:
    return f"at {axis} {number.subject.keys[axis]}"


def _percent(number: Number, digits: int = 1) -> str:
    return percent_text(number.value, number.low, number.high, digits)


def _value(number: Number, digits: int = 1) -> str:
    return interval_text(number.value, number.low, number.high, digits)


_TEXTS: dict[Kind, Callable[[Finding], str]] = {
    Kind.OVER_WIDTH: _over_axis,
    Kind.OVER_EPOCHS: _over_axis,
    Kind.EPOCH_CURVES: _epoch_curves,
    Kind.AGREEMENT: _agreement,
    Kind.BETWEEN_KINDS: _between_kinds,
    Kind.PLANE_SETS: _plane_sets,
    Kind.RATES_AT_END: _rates_at_end,
    Kind.RATES_BY_TEST_ERROR: _rates_by_test_error,
    Kind.DISTILLATION: _distillation,
    Kind.SHARPNESS: _sharpness,
    Kind.MARGINS: _margins,
    Kind.STREAMS: _streams,
    Kind.RESOLUTION: _resolution,
    Kind.LEFT_OUT: _left_out,
    Kind.CONSTANT: _constant,
}
