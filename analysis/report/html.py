"""A comparison as one HTML file: nothing in it is fetched from anywhere, and it prints."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from analysis.comparing import Scores
from analysis.report.rows import Rows, image_rows, model_rows, plane_rows
from analysis.report.sentences import advice, answer, reading

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 Georgia, 'Times New Roman', serif; color: #1a1a1a; background: #fff;
       max-width: 62rem; margin: 2.5rem auto 4rem; padding: 0 1.5rem; }
h1 { font-size: 1.9rem; line-height: 1.2; font-weight: normal; margin: 0 0 .2rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; border-bottom: 1px solid #ccc; padding-bottom: .2rem; }
p { margin: .6rem 0; }
p.about, figcaption { color: #555; font-size: .88rem; }
td small { display: block; color: #555; font-size: .8rem; line-height: 1.2; }
p.answer { font-size: 1.12rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: .6rem 0 1rem; }
th { font-weight: normal; color: #555; border-bottom: 1px solid #1a1a1a; vertical-align: bottom; }
th, td { padding: .3rem 1.4rem .3rem 0; text-align: right; vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 8rem; overflow-wrap: anywhere; }
tr:last-child td { border-bottom: 1px solid #1a1a1a; }
figure { margin: 1.2rem 0; break-inside: avoid; }
figure img { max-width: 100%; height: auto; }
pre { font-size: .8rem; line-height: 1.35; background: #f5f5f5; padding: .8rem 1rem; white-space: pre-wrap;
      overflow-wrap: anywhere; }
td.free { text-align: left; white-space: normal; overflow-wrap: anywhere; }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 10pt; } p.answer { font-size: 11pt; }
               table { font-size: 9pt; } td small { font-size: 8pt; } th, td { padding-right: .8rem; }
               h2 { break-after: avoid; }
               table, pre { break-inside: avoid; } @page { margin: 15mm; } }
"""

CSS_DOTS = 96
"""Pixels of a page to the inch."""


@dataclass(frozen=True)
class Report:
    """What a report tells beside the scores."""

    title: str
    about: str
    """One line: data and planes."""
    plane_classes: str
    precision: float
    pictures: Sequence[tuple[bytes, str, str]]
    """PNG, what is to be seen in it in a few words, and its caption."""
    dots: int
    """Dots an inch of the pictures."""
    command: str
    """With which it can be made again."""
    origin: Sequence[tuple[str, str]]
    """Files, versions and settings, name by name."""


def html_report(scores: Scores, report: Report) -> str:
    """The page."""
    planes, side = scores.shape
    body = [
        f"<h1>{escape(report.title)}</h1>",
        f'<p class="about">{escape(report.about)}</p>',
        f'<p class="answer">{escape(answer(scores, report.plane_classes))}</p>',
        f"<p>{escape(advice(scores, report.precision))}</p>",
        "<h2>Models</h2>",
        _table(model_rows(scores)),
        f"<h2>Pairs on {planes:,} planes of {side} x {side} points</h2>",
        _table(plane_rows(scores)),
        f"<h2>Pairs on {scores.images:,} images</h2>",
        _table(image_rows(scores)),
        "<h2>Pictures</h2>",
        *(_figure(*picture, report.dots) for picture in report.pictures),
        "<h2>How to read this</h2>",
        *(f"<p>{escape(paragraph)}</p>" for paragraph in reading(scores)),
        "<h2>How it was made</h2>",
        f"<pre>{escape(report.command)}</pre>",
        _pairs_of_words(report.origin),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _table(rows: Rows) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    lines = ["".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in rows[1:]]
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>\n</table></div>'


def _cell(text: str) -> str:
    """A value with its interval smaller behind it."""
    value, bracket, interval = text.partition(" [")
    return f"{escape(value)} <small>[{escape(interval)}</small>" if bracket and text.endswith("]") else escape(text)


def _figure(picture: bytes, seen: str, caption: str, dots: int) -> str:
    """A picture in its own size, or as wide as the page if that is less."""
    width = int.from_bytes(picture[16:20]) * CSS_DOTS // dots  # where a PNG's header has it
    source = base64.b64encode(picture).decode()
    return (
        f'<figure><img width="{width}" src="data:image/png;base64,{source}" alt="{escape(seen)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _pairs_of_words(pairs: Sequence[tuple[str, str]]) -> str:
    lines = "".join(f'<tr><td>{escape(name)}</td><td class="free">{escape(value)}</td></tr>\n' for name, value in pairs)
    return f'<div class="wide"><table>\n<tbody>{lines}</tbody>\n</table></div>'
