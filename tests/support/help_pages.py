"""What `--help` of a command prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest


def check_help(main: Callable[[Sequence[str]], int], words: Sequence[str], capsys, monkeypatch) -> None:
    """The help names every word, in lines of at most eighty columns."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in words:
        assert word in text
    assert max(len(line) for line in text.splitlines()) <= 80
