"""What scores are called as metrics. MLflow's pages draw a chart for each, in sections that are named by what stands
before the slash and follow one another by the alphabet: errors first, the ends of intervals last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pandas as pd

from ..scores.groups import records
from .parts import Part

Metric = tuple[str, float, int]
"""Name, value and step."""

OVER = {"width": " over width", "epoch": " over epochs", None: ""}
"""What the steps of a section's charts are."""
SECTIONS = {
    "errors": ("test_error", "train_error"),
    "margins": ("margin", "margin_median", "margin_correct", "margin_mislabelled"),
    "regions": ("fragmentation", "large_regions", "largest_region"),
    "reproducibility": (
        "reproducibility",
        "kappa",
        "soft_agreement",
        "agreement_on_test_images",
        "agreement_beyond_accuracy",
    ),
    "sharpness": ("sharpness",),
}
"""Every score, by its section."""
OF_PLANES = {"regions": SECTIONS["regions"], "reproducibility": SECTIONS["reproducibility"][:3]}
"""Those that are others on other planes."""
MAIN = {"test_error": "errors", "reproducibility": "reproducibility", "fragmentation": "regions"}
"""What is asked first, and its section; the ends of these intervals are metrics too."""
SUMMARY = {
    "test_error": "errors on test images",
    "reproducibility": "reproducibility",
    "fragmentation": "regions a plane",
}
"""The sections of the run that stands above all curves."""
NOT_ALLOWED = re.compile(r"[^\w\-. :]")
"""What MLflow refuses in a name, and the slash, which would make a section."""


def metrics_of(part: Part) -> list[Metric]:
    """The metrics of a curve or a group."""
    over = OVER[part.step]
    found = [*_told(part.rows, SECTIONS, over, part.step)]
    for plane_set, rows in part.others.items():
        found += _told(rows, OF_PLANES, f"{over} - {plane_set} planes", part.step)
    ends = {"uncertainty": [f"{score}{end}" for score in MAIN for end in ("_low", "_high")]}
    return [*found, *_told(part.rows, ends, over, part.step)]


def summary_metrics(parts: Iterable[Part]) -> list[Metric]:
    """The main scores of every curve over width, a metric a curve: for the run that stands above them."""
    return [
        (f"sweep - {section}{OVER[part.step]}/{NOT_ALLOWED.sub('', part.title)}", value, step)
        for part in parts
        if part.step == "width"
        for score, section in SUMMARY.items()
        for _, value, step in _told(part.rows, {"": [score]}, "", part.step)
    ]


def _told(rows: pd.DataFrame, sections: Mapping[str, Sequence[str]], ending: str, step: str | None) -> Iterator[Metric]:
    """The finite values; charts cannot show others."""
    for section, scores in sections.items():
        for score in scores:
            for row in records(rows):
                if math.isfinite(row[score]):
                    yield f"{section}{ending}/{score}", float(row[score]), int(row[step]) if step else 0
