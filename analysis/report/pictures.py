"""Pictures within a page, as small as they can be without a change."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape

from PIL import Image

COLUMN = 864
"""Pixels that the text of a page is wide."""
CSS_DOTS = 96
"""Pixels of a page to the inch."""


@dataclass(frozen=True)
class Illustration:
    """A picture and what is said of it."""

    content: bytes
    """PNG or GIF."""
    seen: str
    """What is to be seen in it, in a few words, for those who do not see it."""
    caption: str
    dots: int
    """Pixels of the picture to the inch."""


def picture_figure(picture: Illustration, name: str) -> str:
    """A picture in its own size, or as wide as the page if that is less; then a touch shows it in its own size.

    `name` tells it from the other pictures of the page.
    """
    content, media = _encoded(picture.content)
    with Image.open(io.BytesIO(picture.content)) as opened:
        width, height = (side * CSS_DOTS // picture.dots for side in opened.size)
    name, seen = escape(name), escape(picture.seen)
    image = (
        f'<img width="{width}" height="{height}" decoding="async" alt="{seen}" '
        f'src="data:{media};base64,{base64.b64encode(content).decode()}">'
    )
    kind = ' class="broad"' if width > COLUMN else ""
    return (
        f'<figure{kind}><input class="larger" type="checkbox" id="{name}" aria-label="full size: {seen}">'
        f'<label for="{name}">{image}</label>\n<figcaption>{escape(picture.caption)} '
        '<span class="tap">Touch the picture to enlarge it.</span></figcaption></figure>'
    )


def _encoded(content: bytes) -> tuple[bytes, str]:
    """The same pixels in fewer bytes, if there are fewer, and their media type."""
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
