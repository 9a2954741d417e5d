"""HTML pages of reports. They load nothing, run no script, and escape every text."""

import base64
import io
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from dbviz_ray.formatting import templates

COLUMN = 864
"""Width of a page's text, in pixels."""
CSS_DOTS = 96
"""Pixels of a page to the inch."""


def render(template: str, **values: Any) -> str:
    """Fill a file of templates/ with `values`, such as `render("comparison.html", title="...")`.

    Pages escape their values, texts (.txt) do not. Tables are rows of texts and `formatting.Cell`s, the first row the
    head; pictures are `Illustration`s. jinja2.UndefinedError if a value is missing.
    """
    return PAGES.get_template(template).render(contents=[], **values)


PAGES = templates(Path(__file__).parent / "templates", trim_blocks=True, lstrip_blocks=True)
PAGES.filters["anchor"] = lambda title: re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


@dataclass(frozen=True)
class Illustration:
    """A picture with its texts."""

    content: bytes
    """PNG or GIF."""
    seen: str
    """Alternative text."""
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
        """Whether it is wider than the text column."""
        return self.size[0] > COLUMN

    @property
    def source(self) -> str:
        """The picture as a data: address; a PNG as lossless WebP if that is smaller."""
        content, webp = self.content, io.BytesIO()
        with Image.open(io.BytesIO(content)) as opened:
            media = f"image/{(opened.format or 'png').lower()}"
            if media == "image/png":
                with suppress(OSError, ValueError):  # too large for WebP
                    opened.save(webp, "webp", lossless=True, exact=True)
                    content, media = min((webp.getvalue(), "image/webp"), (content, media), key=lambda of: len(of[0]))
        return f"data:{media};base64,{base64.b64encode(content).decode()}"
