"""Ctrl-C and SIGTERM end a command, whatever library it is in.

Both raise KeyboardInterrupt at once; and since a library may swallow what is raised inside one of its callbacks, both
are remembered and raised again at the next `check`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []
_others: list[Callable[[], None]] = []


def install() -> None:
    """Take over both signals, also from a library that put its own handlers there."""
    for number in _SIGNALS:
        signal.signal(number, _on_signal)


def check() -> None:
    """Raise what has been received, if anything has, or what ends the command otherwise (see `watching`)."""
    if _received:
        raise KeyboardInterrupt
    for other in _others:
        other()


def exit_code() -> int:
    """What a command that was interrupted ends with: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


@contextmanager
def watching(other: Callable[[], None]) -> Iterator[None]:
    """Within the block every `check` calls `other` too, which raises if the command must end."""
    _others.append(other)
    try:
        yield
    finally:
        _others.remove(other)


@contextmanager
def held() -> Iterator[None]:
    """Both signals wait until the end of the block, whoever handles them: no handler raises inside it."""
    if threading.current_thread() is not threading.main_thread():  # where no handler runs
        yield
        return
    came: list[int] = []
    try:
        with _remembered(signal.SIGINT, came), _remembered(signal.SIGTERM, came):
            yield
    finally:
        for number in came:
            signal.raise_signal(number)


@contextmanager
def _remembered(number: int, came: list[int]) -> Iterator[None]:
    handler = signal.getsignal(number)
    if handler is None:  # not Python's, and so not ours to put back
        yield
        return
    try:
        signal.signal(number, lambda number, frame: came.append(number))
        yield
    finally:
        signal.signal(number, handler)


def _on_signal(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    check()
