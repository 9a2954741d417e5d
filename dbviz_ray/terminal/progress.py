"""What runs is shown, calmly: in one line that is redrawn, or a line now and then in a log."""

from __future__ import annotations

import bisect
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dbviz_ray.formatting import count_text, duration_text, estimate_text
from dbviz_ray.terminal.display import STAGE_COLUMNS, STANDARD_ERROR, Display

REDRAW_SECONDS = 0.5
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 10.0, 300.0
"""Between two lines in a log: as long as what came before, so that a long stage needs few, and within these."""


class Live(ABC):
    """A stage that runs, shown as long as the block lasts; its last line stays, unless the block raises."""

    def __init__(self, stage: str, display: Display, clock: Callable[[], float]) -> None:
        self._stage, self._display, self._clock = stage, display, clock
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._drawing = threading.Thread(target=self._draw_now_and_then, daemon=True)
        self._began = clock()
        self._pause = FIRST_PAUSE_SECONDS

    def __enter__(self) -> Self:
        try:
            self.draw()
            self._drawing.start()
        except BaseException:  # Ctrl-C: the block is not entered, and so not left
            self._ended.set()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._drawing.join()
        self._display.show("")
        if kind is None:
            with self._lock:
                self._display.say(self._stage, self._summary())

    def say(self, text: str) -> None:
        """Write a line that stays."""
        self._display.say(self._stage, text)

    def draw(self) -> None:
        """Show where the stage is; in a log only when a line is due."""
        with self._lock:
            elapsed = self._clock() - self._began
            if self._display.redraws:
                room = self._display.columns - STAGE_COLUMNS
                self._display.show(f"{self._stage:{STAGE_COLUMNS - 1}} {self._shown(room)}")
            elif elapsed >= self._pause:
                self._pause = elapsed + min(max(elapsed, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
                self._display.say(self._stage, self._logged())

    def _draw_now_and_then(self) -> None:
        while not self._ended.wait(REDRAW_SECONDS):
            self.draw()

    @property
    def _elapsed(self) -> str:
        return duration_text(self._clock() - self._began)

    @property
    def _took(self) -> str:
        seconds = self._clock() - self._began
        return f"{seconds:.1f} s" if seconds < 9.95 else self._elapsed

    @abstractmethod
    def _shown(self, room: int) -> str:
        """What fits into `room` columns of a terminal."""

    @abstractmethod
    def _logged(self) -> str:
        """The same for a log."""

    @abstractmethod
    def _summary(self) -> str:
        """The line that stays."""


class Step(Live):
    """A stage of which nothing is counted.

    Args:
        stage: Its name.
        doing: What it does, such as "scoring label maps".
        done: What it has done then.
        display: Where it is shown.
        clock: Seconds.
    """

    def __init__(
        self,
        stage: str,
        doing: str,
        done: str,
        *,
        display: Display = STANDARD_ERROR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stage, display, clock)
        self._doing, self._done = doing, done

    def goes_on(self, doing: str) -> None:
        """It does something else now."""
        with self._lock:
            self._doing = doing
        self.draw()

    def _shown(self, room: int) -> str:
        return self._logged()

    def _logged(self) -> str:
        return f"{self._doing}, {self._elapsed}"

    def _summary(self) -> str:
        return f"{self._done} in {self._took}"


BAR_COLUMNS = 20


@dataclass(frozen=True)
class Amount:
    """What there is to do with one model."""

    units: float
    cost: float
    """Of one unit, in whatever is the same for all models."""


class Progress(Live):
    """A stage that does something with many models: how many are done and have failed, how fast, how much longer.

    Args:
        stage: Its name.
        amounts: What there is to do, by model.
        unit: Of the amounts, such as "epochs".
        there: Models that need nothing any more.
        display: Where it is shown.
        clock: Seconds.
    """

    def __init__(
        self,
        stage: str,
        amounts: Mapping[str, Amount],
        unit: str,
        there: int = 0,
        *,
        display: Display = STANDARD_ERROR,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(stage, display, clock)
        self._amounts, self._unit, self._there = dict(amounts), unit, there
        self._reached = dict.fromkeys(amounts, 0.0)
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._left = sum(amount.units * amount.cost for amount in amounts.values())
        self._total = self._left
        self._units = self._work = 0.0
        self._unit_pace, self._work_pace = Pace(), Pace()

    def __enter__(self) -> Self:
        if self._there:
            self.say(f"{self._there:,} of {self._all:,} models were there already")
        return super().__enter__()

    def reach(self, model: str, units: float, *, found: bool = False) -> None:
        """So much is done with a model in all; less than before, when it is tried again, changes nothing.

        `found` says that it was done by an earlier command: no work of this one, whose pace it does not tell.
        """
        with self._lock:
            amount = self._amounts[model]
            more = min(units, amount.units) - self._reached[model]
            if more <= 0 or model in self._failed:
                return
            self._reached[model] += more
            self._left -= more * amount.cost
            if not found:
                now = self._clock()
                self._units += more
                self._work += more * amount.cost
                self._unit_pace.add(now, self._units)
                self._work_pace.add(now, self._work)
            if self._reached[model] >= amount.units:
                self._done.add(model)

    def fail(self, model: str) -> None:
        """Nothing more will be done with a model."""
        with self._lock:
            if model not in self._failed:
                self._failed.add(model)
                self._done.discard(model)
                amount = self._amounts[model]
                self._left -= (amount.units - self._reached[model]) * amount.cost

    @property
    def _all(self) -> int:
        return self._there + len(self._amounts)

    def _shown(self, room: int) -> str:
        models, failed, rate, left = self._models(), self._failures(), self._rate(), self._time_left()
        texts = [
            ", ".join(filter(None, parts))
            for parts in ([models, failed, rate, left], [models, failed, left], [models, left], [models])
        ]
        text = next((text for text in texts if len(text) <= room), texts[-1])
        return f"{self._bar()}  {text}" if len(text) + BAR_COLUMNS + 2 <= room else text

    def _bar(self) -> str:
        full, empty = "━─" if self._display.draws_lines else "#."
        drawn = int(self._share * BAR_COLUMNS)
        return full * drawn + empty * (BAR_COLUMNS - drawn)

    def _logged(self) -> str:
        share = f"{self._share:.0%} of the work" if self._share else ""
        return ", ".join(filter(None, [self._models(), share, self._failures(), self._rate(), self._time_left()]))

    def _summary(self) -> str:
        whole = len(self._done) + len(self._failed) == len(self._amounts)
        done = len(self._done)
        models = f"{done:,} model{'s' if done != 1 else ''}" if whole else self._models()
        seconds = self._clock() - self._began
        rate = f"{count_text(self._units / seconds)} {self._unit}/s" if self._units and seconds else ""
        return ", ".join(filter(None, [f"{models} in {self._took}", rate, self._failures()]))

    @property
    def _share(self) -> float:
        return 1 - max(0.0, self._left) / self._total if self._total else 1.0

    def _models(self) -> str:
        return f"{self._there + len(self._done):,}/{self._all:,} models"

    def _failures(self) -> str:
        return f"{len(self._failed):,} failed" if self._failed else ""

    def _rate(self) -> str:
        rate = self._unit_pace.rate(self._clock())
        return "" if rate is None else f"{count_text(rate)} {self._unit}/s"

    def _time_left(self) -> str:
        """Nothing while nothing is known."""
        if not self._units and not self._failed:
            return "starting"
        rate = self._work_pace.rate(self._clock())
        return "" if rate is None or self._left <= 0 else f"{estimate_text(self._left / rate)} left"


LEAST_SECONDS = 3.0
"""For how long work is watched before anything is said about it."""
RECENT = 0.5
"""The part of the time, up to now, whose pace counts: the rest may be cheaper or costlier than it was taken for."""


class Pace:
    """A pace that begins with the first work that is done: what it takes to start workers is no part of it."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._done: list[float] = []

    def add(self, now: float, done: float) -> None:
        """Until `now`, `done` has been done in all."""
        if not self._done or done > self._done[-1]:
            self._times.append(now)
            self._done.append(done)

    def rate(self, now: float) -> float | None:
        """Work a second, of late; None while nothing is known."""
        if not self._times or now - self._times[0] < LEAST_SECONDS:
            return None
        recent = bisect.bisect_right(self._times, now - RECENT * (now - self._times[0])) - 1
        since = recent if recent < len(self._times) - 1 else 0  # all the time, where nothing was done of late
        done = self._done[-1] - self._done[since]
        return done / (now - self._times[since]) if done > 0 else None
