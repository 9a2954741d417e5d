"""Reports as HTML pages: nothing is fetched from anywhere, no script runs, and every text is escaped."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

TEMPLATES = Path(__file__).parent / "templates"
COLUMN = 864
"""Width of a page's text, in pixels."""
CSS_DOTS = 96
"""Pixels of a page to the inch."""


def render(template: str, **values: Any) -> str:
    """The page that a file in templates/ makes of `values`, such as `render("comparison.html", title="...")`.

    Tables are rows of texts and `formatting.Cell`s, the first row the head; pictures are `Illustration`s. Every text is
    escaped. A value that the template needs and does not get raises jinja2.UndefinedError.
    """
    return _environment().get_template(template).render(contents=[], **values)


def _environment() -> Environment:
    loader = FileSystemLoader(TEMPLATES)
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["anchor"] = _anchor
    return made


def _anchor(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


@dataclass(frozen=True)
class Illustration:
    """A picture and its words."""

    content: bytes
    """PNG or GIF."""
    seen: str
    """A few words for people who cannot see it."""
    caption: str
    dots: int
    """Pixels of the picture to the inch."""

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height on the page, in pixels."""
        with Image.open(io.BytesIO(self.content)) as opened:
            width, height = opened.size
        return width * CSS_DOTS // self.dots, height * CSS_DOTS // self.dots

    @property
    def is_broad(self) -> bool:
        """Whether it is wider than the text."""
        return self.size[0] > COLUMN

    @property
    def source(self) -> str:
        """The picture as a data: address, in as few bytes as its pixels need."""
        content, media = _encoded(self.content)
        return f"data:{media};base64,{base64.b64encode(content).decode()}"


def _encoded(content: bytes) -> tuple[bytes, str]:
    """The same pixels, as lossless WebP if that is smaller, and their media type."""
    with Image.open(io.BytesIO(content)) as opened:
        media = f"image/{(opened.format or 'png').lower()}"
        if media != "image/png":
            return content, media
        smaller = io.BytesIO()
        try:
            opened.save(smaller, "webp", lossless=True, exact=True)
        except (OSError, ValueError):  # too large for WebP
            return content, media
    return min((smaller.getvalue(), "image/webp"), (content, media), key=lambda each: len(each[0]))


STYLE = (TEMPLATES / "style.css").read_text()
Rows = Sequence[Sequence[str]]
MAX_ABOUT = 90
"""Letters of the beginning of a sentence that is set off."""


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading, named in the table of contents."""

    title: str
    body: Sequence[str]
    """HTML."""


def page(title: str, front: Sequence[str], sections: Sequence[Section], end: Sequence[str] = ()) -> str:
    """A whole page.

    Args:
        title: Of the window.
        front: HTML that stands before the table of contents, with the only first heading.
        sections: In their order; those without a body are left out.
        end: HTML of the foot.
    """
    shown = [section for section in sections if section.body]
    entries = "".join(f'<li><a href="#{_anchor(one.title)}">{escape(one.title)}</a></li>' for one in shown)
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        "<header>",
        *front,
        f'<nav aria-label="contents"><ul>{entries}</ul></nav>',
        "</header>\n<main>",
        *(line for section in shown for line in _section(section)),
        "</main>",
        *(["<footer>", *end, "</footer>"] if end else []),
        "</body>\n</html>\n",
    ]
    return "\n".join(lines)


def _section(section: Section) -> Iterator[str]:
    anchor = _anchor(section.title)
    yield f'<section aria-labelledby="{anchor}">\n<h2 id="{anchor}">{escape(section.title)}</h2>'
    yield from section.body
    yield "</section>"


def heading(text: str) -> str:
    """A heading within a section."""
    return f"<h3>{escape(text)}</h3>"


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph; `kind` is a class of the style sheet."""
    return f"<p{_class(kind)}>{escape(text)}</p>"


def finding(text: str) -> str:
    """A paragraph whose beginning, up to a colon, says what it is about, if it does so shortly."""
    about, colon, told = text.partition(": ")
    if not colon or len(about) > MAX_ABOUT:
        return paragraph(text)
    return f"<p><b>{escape(about)}:</b> {escape(told)}</p>"


def table(rows: Rows, caption: str = "") -> str:
    """A head and rows, the first column at the left; it scrolls within its own box where it is too wide."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in rows[0])
    body = "".join(
        f'<tr><th scope="row">{_cell(first)}</th>' + "".join(f"<td>{_cell(cell)}</td>" for cell in cells) + "</tr>\n"
        for first, *cells in rows[1:]
    )
    above = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    return _wide(f"<table>\n{above}<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody>\n</table>", caption or "table")


def facts(pairs: Sequence[tuple[str, str]]) -> str:
    """Names and what is to be said of each, in words."""
    body = "".join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(text)}</td></tr>\n' for name, text in pairs)
    return f'<table class="facts">\n<tbody>{body}</tbody>\n</table>'


def numbers(told: Sequence[tuple[str, str, Sequence[str]]]) -> str:
    """Few numbers, large: what each is, its value, and lines that belong to it."""
    body = "".join(
        f'<div><dt>{escape(name)}</dt><dd class="value">{escape(value)}</dd>'
        + "".join(f"<dd>{escape(note)}</dd>" for note in notes)
        + "</div>\n"
        for name, value, notes in told
    )
    return f'<dl class="numbers">\n{body}</dl>'


def code(text: str, kind: str = "") -> str:
    """Text as it is, in a fixed width."""
    return f"<pre{_class(kind)}>{escape(text)}</pre>"


def folded(summary: str, body: Sequence[str]) -> str:
    """What is shown when its summary is touched."""
    lines = "\n".join(body)
    return f"<details>\n<summary>{escape(summary)}</summary>\n{lines}\n</details>"


def _wide(content: str, label: str) -> str:
    """A box that scrolls by touch, wheel and keys."""
    return f'<div class="wide" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def _cell(text: str) -> str:
    """A value with its interval, and each further line of the text, smaller below it."""
    first, *others = text.split("\n")
    value, bracket, interval = first.partition(" [")
    if bracket and first.endswith("]"):
        first, others = value, [f"[{interval}", *others]
    return " ".join([escape(first), *(f"<small>{escape(line)}</small>" for line in others)])


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def picture_figure(picture: Illustration, name: str) -> str:
    """A picture in its own size, or as wide as the page if that is less; then a touch shows it in its own size.

    `name` tells it from the other pictures of the page.
    """
    (width, height), name, seen = picture.size, escape(name), escape(picture.seen)
    kind = ' class="broad"' if picture.is_broad else ""
    return (
        f'<figure{kind}><input class="larger" type="checkbox" id="{name}" aria-label="full size: {seen}">'
        f'<label for="{name}"><img width="{width}" height="{height}" decoding="async" alt="{seen}" '
        f'src="{picture.source}"></label>\n<figcaption>{escape(picture.caption)} '
        '<span class="tap">Touch the picture to enlarge it.</span></figcaption></figure>'
    )
