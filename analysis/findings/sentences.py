"""Findings as sentences, each under the question that it answers; their words are in sentences.jinja."""

import re
from collections.abc import Callable
from pathlib import Path

from dbviz_ray.formatting import interval_text, percent_text, templates

from ..tables.scored import SIGNIFICANT
from .curves import ALL_LABELS, SMALL_ERROR
from .rows import Finding, Subject

MAX_NAMED = 6
"""Groups that one sentence names."""
STREAM_NAMES = {
    "init": "initialisation",
    "order": "data order",
    "augmentation": "augmentation",
    "dropout": "dropout",
    "label_noise": "label noise",
    "train_set": "training set",
}


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
    """The sentence of a kind with a question, without its subject."""
    text = getattr(_WORDS, finding.kind.name.lower())(finding)
    return re.sub(r" (?=[.,;:])", "", re.sub(r"[ \n]+", " ", text)).strip()


FILTERS: dict[str, Callable[..., str]] = {
    "percent": lambda number, digits=1: percent_text(number.value, number.low, number.high, digits),
    "value": lambda number, digits=1: interval_text(number.value, number.low, number.high, digits),
    "subject": subject_text,
    "stream_name": STREAM_NAMES.__getitem__,
}
"""What templates about findings call."""
GLOBALS = {"max_named": MAX_NAMED, "small_error": SMALL_ERROR, "all_labels": ALL_LABELS, "significant": SIGNIFICANT}

_TEMPLATES = templates(Path(__file__).parent)
_TEMPLATES.filters |= FILTERS
_TEMPLATES.globals |= GLOBALS
_WORDS = _TEMPLATES.get_template("sentences.jinja").module
QUESTIONS: dict[str, str] = vars(_WORDS)["questions"]
"""By kind. A kind without a question has no sentence; only tables show it."""
