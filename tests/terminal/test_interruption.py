import os
import signal
import time
from unittest.mock import Mock

import pytest

from dbviz_ray.terminal import interruption


@pytest.fixture(autouse=True)
def handlers():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    interruption.install()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    interruption._received.clear()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_raises_at_once_and_again_where_it_was_swallowed(number, code):
    interruption.check()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
    assert interruption.exit_code() == code


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_wait_while_they_are_held(number):
    def hold():
        with interruption.held(), interruption.held():
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            waited.append(number)

    waited = []
    for signalled in (hold, lambda: os.kill(os.getpid(), number)):  # afterwards the handler is back
        with pytest.raises(KeyboardInterrupt):
            signalled()
    assert waited == [number]
    assert interruption._received == [number] * 2, "each once"


def test_other_reasons_to_end_are_asked_for_within_their_block():
    taken_over = Mock(side_effect=ValueError("taken over"))
    with interruption.watching(taken_over), pytest.raises(ValueError, match="taken over"):
        interruption.check()
    interruption.check()
