"""Progress on standard error, by tqdm: one redrawn line on a terminal, occasional lines in a log."""

import io
import os
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import time
from typing import Any

from tqdm import tqdm

from dbviz_ray.formatting import count_text, duration_text, estimate_text

STAGE_COLUMNS = 9
REDRAW_SECONDS = 0.5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 300.0
"""Bounds of the pause between two lines in a log; it grows with the time the stage has run."""
LEAST_SECONDS = 3.0
"""Time to measure before the pace is shown."""


def say(stage: str, text: str) -> None:
    """Write a line that stays on standard error."""
    with suppress(OSError):  # the reader has closed the stream; keep working
        Line.write(f"{stage:{STAGE_COLUMNS - 1}} {text}", file=sys.stderr)


class Line(tqdm):  # type: ignore[misc]  # tqdm has no types
    """A tqdm line below the messages, shown during the block, with a bar if there is a total amount of work.

    A dumb terminal, CI or a log file gets lines without control characters.
    """

    monitor_interval = 0
    redraws_allowed = True
    """False where other programs write to the same terminal."""

    def __init__(self, stage: str, doing: str = "", total: float | None = None) -> None:
        self._stage, self._doing, self._began = stage, doing, time()
        self._pause, self._works, self._ended = FIRST_PAUSE_SECONDS, False, threading.Event()
        plain = os.environ.get("TERM", "dumb") == "dumb" or os.environ.get("CI", "false").lower() not in ("", "false")
        self._redraws = self.redraws_allowed and not plain and sys.stderr.isatty()
        self._ticking = threading.Thread(target=self._tick, daemon=True)
        file = sys.stderr if self._redraws else io.StringIO()
        pace: dict[str, Any] = {"mininterval": REDRAW_SECONDS, "miniters": 0, "smoothing": 0}  # cohorts differ
        super().__init__(total=total, file=file, leave=False, dynamic_ncols=True, **pace)
        self._ticking.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()
        seconds = time() - self._began
        summary = self._summary(f"{seconds:.1f} s" if seconds < 9.95 else duration_text(seconds))
        if kind is None and summary:
            self.say(summary)

    def say(self, text: str) -> None:
        """Write a line that stays."""
        say(self._stage, text)

    def _text(self) -> str:
        return self._doing

    def _summary(self, took: str) -> str:
        """The line that stays, with the time that the stage `took`, unless the block raises."""
        return ""

    def __str__(self) -> str:
        shown = self.format_dict
        if (shown["ncols"] or 0) < 1:  # some terminals report no columns and no rows
            shown["ncols"] = 79
        text = f"{self._stage:{STAGE_COLUMNS - 1}} {self._text()}"
        if self.total is None:
            return text[: shown["ncols"]]
        layout = f"{self._stage:{STAGE_COLUMNS - 1}} {{bar}} {self._text().replace('{', '{{').replace('}', '}}')}"
        return str(self.format_meter(**shown | {"bar_format": layout}))

    def work(self, work: float, *, found: bool = False) -> None:
        """Count work. The pace starts with the first that is not `found`, so it excludes the start of workers."""
        if self._works and not found:
            self.update(work)
            return
        if not found:
            self._works = True
            self.start_t = self.last_print_t = time()
        self.n += work
        self.initial += work
        self.last_print_n += work

    def seconds_left(self) -> float | None:
        """Estimated time until all work is done; None if unknown."""
        shown = self.format_dict
        if not self._works or shown["elapsed"] < LEAST_SECONDS or shown["n"] <= shown["initial"]:
            return None
        return float((self.total - self.n) / (shown["rate"] or (shown["n"] - shown["initial"]) / shown["elapsed"]))

    def refresh(self, nolock: bool = False, lock_args: Any = None) -> None:
        """Draw the line; unlike tqdm's own, an interruption in between frees the lock."""
        with self._lock:
            if not self.disable:
                self.display()

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Draw the line, or say it if one is due in a log; returns whether it was drawn."""
        if self._redraws:
            self.nrows = None  # tqdm draws nothing where a terminal reports no rows
            with suppress(OSError):
                return bool(super().display(msg, pos))
        elif msg is None and (seconds := time() - self._began) >= self._pause:
            self._pause = seconds + min(seconds, LONGEST_PAUSE_SECONDS)
            self.say(self._text())
        return False

    def close(self) -> None:
        """Remove the line."""
        self._ended.set()
        if not self.disable and self._ticking.is_alive():
            self._ticking.join()
        with suppress(OSError):
            super().close()

    def _tick(self) -> None:
        while not self._ended.wait(REDRAW_SECONDS):
            self.refresh()


Line.set_lock(threading.RLock())


class Step(Line):
    """A stage without a count: shows what it is doing, such as "scoring label maps", then what it did."""

    def __init__(self, stage: str, doing: str, done: str) -> None:
        self._done = done
        super().__init__(stage, doing)

    def goes_on(self, doing: str) -> None:
        """Change the text."""
        self._doing = doing
        self.refresh()

    def _text(self) -> str:
        return f"{self._doing}, {duration_text(time() - self._began)}"

    def _summary(self, took: str) -> str:
        return f"{self._done} in {took}"


@dataclass(frozen=True)
class Amount:
    """The work that one model needs."""

    units: float
    cost: float
    """Cost of one unit, in a measure that all models share."""


class Progress(Line):
    """A stage with many models: shows models done and failed, the pace in `unit`s, and the time left by cost.

    `amounts` tells what each model needs; `there` more models are complete already.
    """

    def __init__(self, stage: str, amounts: Mapping[str, Amount], unit: str, there: int = 0) -> None:
        self._amounts, self._unit, self._there = dict(amounts), unit, there
        self._reached = dict.fromkeys(amounts, 0.0)
        self._done, self._failed = set[str](), set[str]()
        self._units = 0.0
        if there:
            say(stage, f"{there:,} of {there + len(amounts):,} models were there already")
        super().__init__(stage, total=sum(amount.units * amount.cost for amount in amounts.values()))

    def reach(self, model: str, units: float, *, found: bool = False) -> None:
        """Record that a model has done `units` in total; a smaller number, after a restart, changes nothing.

        `found`: an earlier command did the work, so it does not count towards the pace.
        """
        with self._lock:
            amount = self._amounts[model]
            more = min(units, amount.units) - self._reached[model]
            if more <= 0 or model in self._failed:
                return
            self._reached[model] += more
            if self._reached[model] >= amount.units:
                self._done.add(model)
            self._units += 0 if found else more
            self.work(more * amount.cost, found=found)

    def fail(self, model: str) -> None:
        """Record that a model failed and gets no more work."""
        with self._lock:
            if model not in self._failed:
                self._failed.add(model)
                self._done.discard(model)
                amount = self._amounts[model]
                self.work((amount.units - self._reached[model]) * amount.cost, found=True)

    def _text(self) -> str:
        models = f"{self._there + len(self._done):,}/{self._there + len(self._amounts):,} models"
        if not self._units and not self._failed:
            return f"{models}, starting"
        left = self.seconds_left()
        estimate = f"{estimate_text(left)} left" if left else ""
        share = f"{self.n / self.total:.0%} of the work" if self.total else ""
        return ", ".join(filter(None, [models, estimate, share, self._failures(), self._rate()]))

    def _summary(self, took: str) -> str:
        done = len(self._done)
        models = f"{done:,} model{'s' if done != 1 else ''} in {took}"
        return ", ".join(filter(None, [models, self._rate(), self._failures()]))

    def _failures(self) -> str:
        return f"{len(self._failed):,} failed" if self._failed else ""

    def _rate(self) -> str:
        seconds = time() - self._began
        return f"{count_text(self._units / seconds)} {self._unit}/s" if self._units and seconds else ""
