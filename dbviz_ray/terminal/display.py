"""Standard error, where a command tells what it is doing: lines that stay, and on a terminal one that is redrawn."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

STAGE_COLUMNS = 9
_ERASED = "\r\x1b[K"


class Display:
    """Lines that stay (`say`), and below them one that the next replaces (`show`).

    Log files, CI, dumb terminals get no control characters, and of what is shown nothing.

    Args:
        stream: Where it is written; standard error, whatever that is at the time, if None.
    """

    redraws_allowed = True
    """False where others write to the same terminal, whose lines would be torn."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._shown = ""
        self._lock = threading.RLock()

    @property
    def redraws(self) -> bool:
        """Whether a line can be replaced here."""
        plain = os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("CI", "false").lower() not in ("", "false")
        return self.redraws_allowed and not plain and self._out.isatty()

    @property
    def columns(self) -> int:
        """What fits into a line that is redrawn; in the very last column a terminal may begin the next line."""
        try:
            return (os.get_terminal_size(self._out.fileno()).columns or 80) - 1
        except OSError:
            return 79

    @property
    def draws_lines(self) -> bool:
        """Whether box-drawing characters can be written."""
        return (self._out.encoding or "").lower().startswith("utf")

    def say(self, stage: str, text: str) -> None:
        """Write a line that stays."""
        with self._lock:
            shown = self._shown
            self.show("")
            with suppress(OSError):  # whoever read it is gone; the work goes on
                print(f"{stage:{STAGE_COLUMNS - 1}} {text}", file=self._out, flush=True)
            self.show(shown)

    def show(self, line: str) -> None:
        """Replace what was shown before; nothing is shown then if `line` is empty."""
        with self._lock:
            if line != self._shown and self.redraws:
                with suppress(OSError):
                    self._out.write(_ERASED + line[: self.columns])
                    self._out.flush()
                self._shown = line

    @property
    def _out(self) -> TextIO:
        return sys.stderr if self._stream is None else self._stream


STANDARD_ERROR = Display()


def say(stage: str, text: str) -> None:
    """Write a line that stays on standard error."""
    STANDARD_ERROR.say(stage, text)


@contextmanager
def showing(stage: str, text: str) -> Iterator[None]:
    """Within the block a terminal shows a line that does not stay."""
    STANDARD_ERROR.show(f"{stage:{STAGE_COLUMNS - 1}} {text}")
    try:
        yield
    finally:
        STANDARD_ERROR.show("")
