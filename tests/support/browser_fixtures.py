"""A real browser without a window, for tests that open pages as people do; they are skipped where there is none."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
QUIET = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the tests of a file; it ends with them, since its event loop would be in the way of others."""
    program = os.environ.get("BROWSER_PROGRAM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is on PATH, and BROWSER_PROGRAM names none")
    with sync_playwright() as driver, driver.chromium.launch(executable_path=program, args=QUIET) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page as wide as a desktop's."""
    with browser.new_page(viewport=ViewportSize(width=1200, height=900)) as opened:
        yield opened


@pytest.fixture
def phone(browser: Browser) -> Iterator[Page]:
    """An empty page on a phone, which lays out as the page's own `viewport` says."""
    small = ViewportSize(width=390, height=844)
    with browser.new_page(viewport=small, is_mobile=True, has_touch=True, device_scale_factor=2) as opened:
        yield opened
