"""Ctrl-C and SIGTERM end a command, whatever library is running.

Both raise KeyboardInterrupt at once. A library may swallow it in a callback, so the next `check` raises it again.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_received: list[int] = []
_others: list[Callable[[], None]] = []


def install() -> None:
    """Handle both signals, also where a library has handlers of its own."""
    for number in _SIGNALS:
        signal.signal(number, _on_signal)


def check() -> None:
    """Raise KeyboardInterrupt if a signal came, or the error of a watcher (see `watching`)."""
    if _received:
        raise KeyboardInterrupt
    for other in _others:
        other()


def exit_code() -> int:
    """The exit code of an interrupted command: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + (_received[-1] if _received else signal.SIGINT)


@contextmanager
def watching(other: Callable[[], None]) -> Iterator[None]:
    """Within the block, every `check` also calls `other`, which raises if the command must end."""
    _others.append(other)
    try:
        yield
    finally:
        _others.remove(other)


@contextmanager
def held() -> Iterator[None]:
    """Within the block both signals wait until its end, so that no handler raises inside it."""
    if threading.current_thread() is not threading.main_thread():  # where no handler runs
        yield
        return
    came: list[int] = []
    try:
        with ExitStack() as restored:
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if handler is not None:  # otherwise it is not Python's, so we cannot restore it
                    restored.callback(signal.signal, number, handler)
                    signal.signal(number, lambda number, _: came.append(number))
            yield
    finally:
        for received in came:
            signal.raise_signal(received)


def _on_signal(number: int, frame: FrameType | None) -> None:
    _received.append(number)
    check()
