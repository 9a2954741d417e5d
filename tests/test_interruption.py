from __future__ import annotations

import os
import signal

import pytest

from dbviz_ray import interruption


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interruption.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interruption._received.clear()


KINDS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, interruption.TerminatedError)]


@pytest.mark.parametrize(("number", "kind"), KINDS)
def test_a_signal_raises_at_once_and_again_where_it_was_swallowed(number, kind):
    interruption.check()
    with pytest.raises(KeyboardInterrupt) as first:
        os.kill(os.getpid(), number)
    assert first.type is kind
    with pytest.raises(KeyboardInterrupt) as second:
        interruption.check()
    assert second.type is kind
