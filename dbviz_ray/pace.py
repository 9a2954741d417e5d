"""How fast work goes, from what was done when."""

from __future__ import annotations

import bisect

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
