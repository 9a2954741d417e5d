"""Which browser tests open pages in, and what they listen for. The fixtures are in `browser_fixtures`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from playwright.sync_api import Page

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
VARIABLE = "BROWSER_PROGRAM"


def browser_program() -> str | None:
    """The path of Chromium or one of its kin, if one is on PATH or named by the environment variable."""
    named = os.environ.get(VARIABLE)
    return named or next((path for path in map(shutil.which, PROGRAMS) if path), None)


def troubles(page: Page, allowed: Sequence[str] = ("file:", "data:")) -> list[str]:
    """A list that fills with what goes wrong on a page from now on.

    That is messages of errors and warnings, requests that fail or are answered with an error, and those to addresses
    that do not begin with one of `allowed`.
    """
    found: list[str] = []
    page.on("console", lambda said: found.append(f"{said.type}: {said.text}") if said.type in _BAD else None)
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"failed: {request.url[:200]} {request.failure}"))
    page.on("response", lambda answer: found.append(f"{answer.status}: {answer.url}") if answer.status > 399 else None)
    page.on("request", lambda asked: None if asked.url.startswith(tuple(allowed)) else found.append(asked.url))
    return found


_BAD = ("error", "warning")
