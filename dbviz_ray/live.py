"""What runs is shown, calmly: in one line that is redrawn, or a line now and then in a log."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dbviz_ray.amounts import duration_text
from dbviz_ray.display import STAGE_COLUMNS, STANDARD_ERROR, Display

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
