"""What a command tells about its progress, on terminals, in logs and where there is little room."""

from __future__ import annotations

import io
import re

import pytest

from dbviz_ray.formatting import count_text, estimate_text
from dbviz_ray.terminal.display import Display
from dbviz_ray.terminal.progress import Amount, Pace, Progress, Step


class Clock:
    """Tells the time that it is given."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """Standard error that is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What is seen: of a line that was redrawn only the last state."""
        return [re.split(r"\r\x1b\[K", line)[-1] for line in self.getvalue().split("\n")]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)


class Narrow(Display):
    columns = 39


def train(display: Display, clock: Clock, there: int = 0) -> Progress:
    """Four small models of 10 epochs and one that costs a hundred times as much."""
    amounts = {name: Amount(10, 1.0) for name in "abcd"} | {"large": Amount(10, 100.0)}
    return Progress("train", amounts, "epochs", there, display=display, clock=clock)


def trained(progress: Progress, clock: Clock) -> None:
    """Two epochs of the large model in ten seconds, after a minute in which the workers started."""
    clock.now += 60
    progress.reach("large", 1)
    clock.now += 5
    progress.reach("large", 2)
    clock.now += 5
    progress.reach("large", 3)
    progress.draw()


def test_a_terminal_shows_one_line_that_is_redrawn():
    terminal, clock = Terminal(), Clock()
    with train(Display(terminal), clock) as progress:
        assert terminal.lines[-1].endswith("0/5 models, starting"), "no estimate while nothing is known"
        trained(progress, clock)
        assert re.fullmatch(r"train    ━{5}─{15}  0/5 models, 0.2 epochs/s, about 35 s left", terminal.lines[-1])
        progress.reach("a", 10)
        progress.fail("b")
        progress.draw()
        assert "  1/5 models, 1 failed, " in terminal.lines[-1]
        progress.say("a is odd")
        assert terminal.lines[-2] == "train    a is odd"
        assert "  1/5 models, 1 failed, " in terminal.lines[-1]
        for model in ("c", "d", "large"):
            progress.reach(model, 10)
    assert terminal.lines == ["train    a is odd", "train    4 models in 70 s, 0.571 epochs/s, 1 failed", ""]


def test_time_left_is_that_of_the_work_not_of_the_models():
    """The four small ones, though most of all models, are four hundredths of what is left."""
    terminal, clock = Terminal(), Clock()
    with train(Display(terminal), clock) as progress:
        trained(progress, clock)
        for model in "abcd":
            progress.reach(model, 10, found=True)
        progress.draw()
        assert terminal.lines[-1].endswith("4/5 models, 0.2 epochs/s, about 35 s left")


def test_forty_columns_are_enough():
    terminal, clock = Terminal(), Clock()
    with train(Narrow(terminal), clock) as progress:
        trained(progress, clock)
        progress.draw()
        assert terminal.lines[-1] == "train    0/5 models, about 35 s left"
        progress.say("a name that is longer than the line does not matter where nothing is redrawn")
    drawn = re.findall(r"\x1b\[K([^\r\n]*)(?=\r)", terminal.getvalue())
    assert max(map(len, drawn)) <= 39


@pytest.mark.parametrize(
    ("variable", "value", "terminal"), [("TERM", "dumb", True), ("CI", "true", True), ("TERM", "xterm", False)]
)
def test_logs_get_few_lines_and_no_control_characters(monkeypatch, variable, value, terminal):
    monkeypatch.setenv(variable, value)
    stream, clock = Terminal() if terminal else io.StringIO(), Clock()
    with train(Display(stream), clock, there=3) as progress:
        for _ in range(10 * 3600):
            clock.now += 1
            progress.reach("large", progress_of_ten_hours(clock))
            progress.draw()
    lines = stream.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines[0] == "train    3 of 8 models were there already"
    assert lines[1] == "train    3/8 models, 0% of the work, 0.000278 epochs/s, about 10 h left"
    assert lines[-1] == "train    4/8 models in 10.0 h, 0.000278 epochs/s"
    assert 100 < len(lines) < 140


def progress_of_ten_hours(clock: Clock) -> float:
    return (clock.now - 100) / 3600


def test_what_is_done_again_is_not_counted_twice_and_what_was_found_is_no_work():
    stream, clock = Terminal(), Clock()
    with train(Display(stream), clock) as progress:
        clock.now += 10
        progress.reach("large", 8, found=True)  # of an earlier command's checkpoint
        progress.reach("large", 9)
        progress.reach("large", 7, found=True)  # its process died, and another goes on from a checkpoint
        progress.reach("large", 8)
        progress.reach("a", 0, found=True)
        clock.now += 10
        progress.reach("large", 10)
        progress.draw()
        assert "1/5 models, 0.1 epochs/s, about 5 s left" in stream.lines[-1]
        for model in "abcd":
            progress.reach(model, 12)
    assert stream.lines[-2] == "train    5 models in 20 s, 2.1 epochs/s"


def test_nothing_stays_of_a_stage_that_is_interrupted():
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), train(Display(terminal), Clock()):
        raise KeyboardInterrupt
    assert terminal.lines == [""]


def test_a_step_says_what_it_does_and_how_long_it_took():
    terminal, log, clock = Terminal(), io.StringIO(), Clock()
    for stream in (terminal, log):
        with Step("report", "drawing", "drawn and logged", display=Display(stream), clock=clock) as step:
            clock.now += 12
            step.goes_on("logging")
            if stream is terminal:
                assert terminal.lines[-1] == "report   logging, 12 s"
    assert terminal.lines == ["report   drawn and logged in 12 s", ""]
    assert log.getvalue() == "report   logging, 12 s\nreport   drawn and logged in 12 s\n"


def test_the_pace_follows_what_is_seen_of_late_and_falls_when_nothing_comes():
    pace = Pace()
    assert pace.rate(0) is None
    for now in range(100):
        pace.add(now, 10 * min(now, 50) + max(0, now - 50))
    assert pace.rate(99) == pytest.approx(1, rel=0.2)
    assert pace.rate(400) == pytest.approx(549 / 400)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "about 5 s"), (33, "about 35 s"), (58, "about 60 s"), (100, "about 100 s"), (118, "about 2 min"),
     (569, "about 9 min"), (1000, "about 15 min"), (5690, "about 95 min"), (7000, "about 2 h"),
     (34190, "about 9.5 h"), (100_000, "about 28 h")],
)  # fmt: skip
def test_estimates_are_rounded(seconds, text):
    assert estimate_text(seconds) == text


def test_counts_are_read_easily():
    texts = {0.000278: "0.000278", 12: "12", 1523: "1,520", 13_240_000: "13.2 million", 2.5e9: "2.5 billion"}
    assert {count: count_text(count) for count in texts} == texts
