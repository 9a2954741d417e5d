"""A comparison as one HTML file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..report.page import Illustration, Section, code, facts, page, paragraph, picture_figure, table
from .scores import Scores
from .sentences import advice, answer, reading
from .tables import image_rows, model_rows, plane_rows


@dataclass(frozen=True)
class Report:
    """What a report tells beside the scores."""

    title: str
    about: str
    """One line: data and planes."""
    plane_classes: str
    precision: float
    pictures: Sequence[Illustration]
    command: str
    """With which it can be made again."""
    origin: Sequence[tuple[str, str]]
    """Files, versions and settings, name by name."""


def html_report(scores: Scores, report: Report) -> str:
    """The page."""
    planes, side = scores.shape
    pictures = [picture_figure(picture, f"picture-{place}") for place, picture in enumerate(report.pictures)]
    front = [
        paragraph("How far they are the same model", "kicker"),
        f"<h1>{escape(report.title)}</h1>",
        paragraph(report.about, "about"),
        paragraph(answer(scores, report.plane_classes), "lead"),
        paragraph(advice(scores, report.precision)),
    ]
    sections = [
        Section("Models", [table(model_rows(scores))]),
        Section(f"Pairs on {planes:,} planes of {side} x {side} points", [table(plane_rows(scores))]),
        Section(f"Pairs on {scores.images:,} images", [table(image_rows(scores))]),
        Section("Pictures", pictures),
        Section("How to read this", [paragraph(text) for text in reading(scores)]),
        Section("How it was made", [code(report.command, "wrapped"), facts(report.origin)]),
    ]
    return page(report.title, front, sections)
