"""A real browser without a window, for tests that open pages as people do; they are skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright
from support.browser import PROGRAMS, VARIABLE, browser_program

QUIET = ("--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update")
DESKTOP = ViewportSize(width=1200, height=900)
PHONE = ViewportSize(width=390, height=844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file; it ends with them, since its event loop would be in the way of others."""
    program = browser_program()
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is on PATH, and {VARIABLE} names none")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program, args=list(QUIET))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page as wide as a desktop's."""
    context = browser.new_context(viewport=DESKTOP)
    yield context.new_page()
    context.close()


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """An empty page on a phone, which lays out as the page's own `viewport` says."""
    context = browser.new_context(viewport=PHONE, is_mobile=True, has_touch=True, device_scale_factor=2)
    yield context.new_page()
    context.close()
