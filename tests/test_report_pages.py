"""Reports in a real browser: without errors, without the network, readable on a phone."""

from __future__ import annotations

from pathlib import Path

from browser import troubles
from playwright.sync_api import Page

pytest_plugins = ["browser_fixtures"]


def test_a_page_that_asks_for_more_is_told_on(page: Page, tmp_path: Path):
    (tmp_path / "page.html").write_text(
        '<link rel="icon" href="data:,"><img src="missing.png"><img src="http://127.0.0.1:9/outside.png">'
        "<script>console.error('told'); unknown()</script>"
    )
    found = troubles(page)
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_load_state("networkidle")
    for said in ("error: told", "error: unknown", "http://127.0.0.1:9/outside.png", "failed: file:"):
        assert any(said in line for line in found), (said, found)
