"""Ctrl-C and SIGTERM end a command, whatever library it is in.

Both raise at once; and since a library may swallow what is raised inside one of its callbacks, both are remembered
and raised again at the next `check`.
"""

from __future__ import annotations

import signal
from types import FrameType


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, taken the way that Ctrl-C takes."""


_SIGNALS: dict[int, type[KeyboardInterrupt]] = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: TerminatedError}
_received: list[int] = []


def install() -> None:
    """Take over both signals, also from a library that put its own handlers there."""
    for number in _SIGNALS:
        signal.signal(number, _on_signal)


def check() -> None:
    """Raise what has been received, if anything has."""
    if _received:
        raise _SIGNALS[_received[-1]]


def _on_signal(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    check()
