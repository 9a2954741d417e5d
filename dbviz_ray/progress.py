"""How far a stage is: models done and failed, how fast it goes, and how much longer it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

from dbviz_ray.amounts import count_text, estimate_text
from dbviz_ray.display import STANDARD_ERROR, Display
from dbviz_ray.live import Live
from dbviz_ray.pace import Pace

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
