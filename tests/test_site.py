"""The pages as a site: it builds without a warning, and every page is short."""

import subprocess
import sys

import pytest
from support.documents import PAGES, ROOT


def test_the_site_builds_strictly_and_pages_are_short(tmp_path):
    assert not [page.name for page in PAGES[1:] if len(page.read_text().splitlines()) > 150]
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)]
    assert subprocess.run(command, cwd=ROOT).returncode == 0
