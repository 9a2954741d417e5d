"""Texts that are set in lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

LETTER = 0.56
"""Width of an average letter of DejaVu Sans, in sizes of the font."""
_BREAKS = re.compile(r"(?<=[ _])")


def lines(text: str, width: float, size: float) -> str:
    """A text in lines of about equal length that are at most `width` inches wide, letters of `size` points; breaks that
    it has stay."""
    letters = max(8, int(width * 72 / (LETTER * size)))
    return "\n".join(part for line in text.split("\n") for part in _balanced(line, letters))


def _balanced(line: str, letters: int) -> list[str]:
    """A line in as few lines as possible of at most so many letters, which are about equally long; broken after spaces
    and underscores, but not before the sign for percent."""
    line = line.replace(" %", "\u00a0%")
    parts = [part[start : start + letters] for part in _BREAKS.split(line) for start in range(0, len(part), letters)]
    filled = _filled(parts, letters)
    while letters > 1 and len(_filled(parts, letters - 1)) == len(filled):
        letters -= 1
    return _filled(parts, letters)


def _filled(parts: Sequence[str], letters: int) -> list[str]:
    found = [""]
    for part in parts:
        if found[-1] and len((found[-1] + part).rstrip()) > letters:
            found.append("")
        found[-1] += part
    return [line.rstrip() for line in found]
