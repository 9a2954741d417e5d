import os
import signal

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


def test_other_reasons_to_end_are_asked_for_within_their_block():
    def taken_over():
        raise ValueError("taken over")

    with interruption.watching(taken_over), pytest.raises(ValueError, match="taken over"):
        interruption.check()
    interruption.check()
