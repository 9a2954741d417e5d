"""One calm progress display: a bar on a terminal, a line every few seconds in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

LOG_SECONDS = 10.0


class Progress:
    """Progress of one stage, counted in `unit`s of work; use as a context manager."""

    def __init__(self, stage: str, total: int, unit: str) -> None:
        self._stage, self._total, self._unit = stage, total, unit
        self._done = 0
        self._started = self._last_line = time.monotonic()
        self._bar = (
            tqdm(total=total, desc=f"{stage:8}", unit=f" {unit}", unit_scale=True) if sys.stderr.isatty() else None
        )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            self._print_line()

    def advance(self, amount: int) -> None:
        """Count `amount` more units as done."""
        self._done += amount
        if self._bar is not None:
            self._bar.update(amount)
        elif time.monotonic() - self._last_line >= LOG_SECONDS:
            self._print_line()

    def say(self, text: str) -> None:
        """Print a line without breaking the display."""
        tqdm.write(f"{self._stage:8} {text}", file=sys.stderr)

    def _print_line(self) -> None:
        now = time.monotonic()
        elapsed = now - self._started
        rate = self._done / elapsed if elapsed else 0.0
        left = f", about {(self._total - self._done) / rate:,.0f} s left" if 0 < self._done < self._total else ""
        print(
            f"{self._stage:8} {self._done:,} of {self._total:,} {self._unit}, {elapsed:,.0f} s{left}",
            file=sys.stderr,
            flush=True,
        )
        self._last_line = now
