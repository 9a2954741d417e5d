"""What a command tells about its progress, on terminals and in logs."""

import io
import threading
from types import SimpleNamespace

import pytest

from dbviz_ray.terminal.progress import Amount, Line, Progress, Step, say


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    @property
    def lines(self) -> list[str]:
        """What a reader sees: text after a carriage return covers the text before it."""
        seen = []
        for line in self.getvalue().split("\n"):
            shown = ""
            for part in line.split("\r"):
                shown = part + shown[len(part) :]
            seen.append(shown.rstrip())
        return seen


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> Clock:
    clock = Clock()
    for name in ("tqdm.std.time", "dbviz_ray.terminal.progress.time"):
        monkeypatch.setattr(name, clock)
    return clock


@pytest.fixture
def terminal(monkeypatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda stream: (100, 20))
    terminal = Terminal()
    # Pytest sets `sys.stderr` itself.
    monkeypatch.setattr("dbviz_ray.terminal.progress.sys", SimpleNamespace(stderr=terminal))
    return terminal


def train(there: int = 0) -> Progress:
    """Four small models of 10 epochs and one that costs a hundred times as much."""
    amounts = {name: Amount(10, 1.0) for name in "abcd"} | {"large": Amount(10, 100.0)}
    return Progress("train", amounts, "epochs", there)


def trained(progress: Progress, clock: Clock) -> None:
    """Two epochs of the large model in ten seconds, after a minute in which the workers started."""
    clock.now += 60
    progress.reach("large", 1)
    for epoch in (2, 3):
        clock.now += 5
        progress.reach("large", epoch)
    progress.refresh()


def test_a_terminal_shows_one_line_that_is_redrawn(terminal, clock):
    with train() as progress:
        assert terminal.lines[-1].endswith("0/5 models, starting")
        trained(progress, clock)
        assert terminal.lines[-1].endswith("0/5 models, about 35 s left, 29% of the work, 0.0429 epochs/s")
        assert "█" in terminal.lines[-1]
        progress.reach("a", 10)
        progress.fail("b")
        say("store", "is away {for now}")
        progress.refresh()
        assert terminal.lines[-2] == "store    is away {for now}"
        assert " 1/5 models, " in terminal.lines[-1]
        assert ", 1 failed, " in terminal.lines[-1]
        for model in ("c", "d", "large"):
            progress.reach(model, 10)
    assert terminal.lines == ["store    is away {for now}", "train    4 models in 70 s, 0.571 epochs/s, 1 failed", ""]


@pytest.mark.parametrize(("columns", "shown"), [(40, 40), (-1, 100)])
def test_a_narrow_terminal_and_one_without_a_size_show_what_matters_most(terminal, clock, monkeypatch, columns, shown):
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda stream: (columns, columns))
    with train() as progress:
        trained(progress, clock)
        assert len(terminal.lines[-1]) <= shown
        assert " 0/5 models, about 35 s left" in terminal.lines[-1]


@pytest.mark.parametrize(
    ("variable", "value", "is_terminal"), [("TERM", "dumb", True), ("CI", "true", True), ("TERM", "xterm", False)]
)
def test_a_log_gets_few_lines_and_no_control_characters(terminal, clock, monkeypatch, variable, value, is_terminal):
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(terminal, "isatty", lambda: is_terminal)
    with train(there=3) as progress:
        for second in range(0, 10 * 3600, 10):
            clock.now += 10
            progress.reach("large", second / 3600)
            progress.refresh()
        progress.reach("large", 10)
    lines = terminal.getvalue().splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines[:2] == ["train    3 of 8 models were there already", "train    3/8 models, starting"]
    assert any(line.startswith("train    3/8 models, about 7.5 h left, 28% of the work, ") for line in lines)
    assert lines[-1] == "train    1 model in 10.0 h, 0.000278 epochs/s"
    assert 100 < len(lines) < 140


def test_work_done_again_is_not_counted_twice_and_found_work_says_nothing_about_the_pace(terminal, clock):
    with train() as progress:
        clock.now += 10
        progress.reach("large", 5, found=True)  # by an earlier command
        progress.reach("large", 6)
        progress.reach("large", 4, found=True)  # its process died, and another continues from a checkpoint
        progress.reach("large", 5)
        clock.now += 10
        progress.reach("large", 8)
        progress.refresh()
        assert " 0/5 models, about 10 s left" in terminal.lines[-1]
        for model in ("a", "b", "c", "d", "large"):
            progress.reach(model, 12)
    assert terminal.lines[-2] == "train    5 models in 20 s, 2.25 epochs/s"


def test_nothing_stays_of_a_stage_that_is_interrupted(terminal):
    with pytest.raises(KeyboardInterrupt), train():
        raise KeyboardInterrupt
    assert terminal.lines == [""]


def test_an_interruption_while_the_line_is_drawn_blocks_nobody(terminal, monkeypatch):
    def interrupted(self, msg=None, pos=None):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    with train() as progress, monkeypatch.context() as patch:
        patch.setattr(Line, "display", interrupted)
        with pytest.raises(KeyboardInterrupt):
            progress.refresh()
        patch.undo()
    assert terminal.lines[-2] == "train    0 models in 0.0 s"


def test_a_step_says_what_it_does_and_how_long_it_took(terminal, clock):
    with Step("report", "drawing", "drawn and logged") as step:
        clock.now += 12
        step.goes_on("logging")
        assert terminal.lines[-1] == "report   logging, 12 s"
    with Line("ray", "starting"):
        assert terminal.lines[-1] == "ray      starting"
    assert terminal.lines == ["report   drawn and logged in 12 s", ""]
