"""Runs the command of one training, and remembers how it ended, so that no finished training runs twice."""

import ctypes
import hashlib
import json
import os
import platform
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from dbviz_ray.errors import UserError, one_line, printable

from .recipe import Trial

OUTCOME, LOG = "outcome.json", "log.txt"
WAIT_SECONDS = 0.2
GRACE_SECONDS = 5.0
"""Between asking a command to end and killing it."""
MOST_BYTES = 10**7
"""Files of a command's words up to this size are known by their content, so that a changed script is noticed."""
PDEATHSIG = 1
_LIBRARY = ctypes.CDLL(None)  # loaded here, since little may happen between fork and exec


@dataclass(frozen=True)
class Ended:
    """How a training ended."""

    words: tuple[str, ...]
    files: dict[str, str]
    """The sha256 of each file among the words."""
    code: int
    """Its exit code; that of a signal is negative."""
    tries: int
    seconds: float
    machine: str
    last_line: str
    """Of its output."""


def outcome_of(trial: Trial) -> Ended | None:
    """How a training ended; None if it did not."""
    try:
        found = json.loads((trial.folder / OUTCOME).read_text("utf-8"))
        return Ended(**{**found, "words": tuple(found["words"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):  # the last three: the file is damaged
        return None


def is_done(trial: Trial) -> bool:
    """Whether a training has ended well. UserError if it was another command, or if a file of it has changed."""
    before = outcome_of(trial)
    if before is None or before.code != 0:
        return False
    reason, files = "", files_of(trial)
    if trial.words != before.words:
        reason = f"is not the one that made {trial.folder}, which was {shlex.join(before.words)}"
    elif changed := [word for word in before.files if before.files[word] != files.get(word)]:
        reason = f"uses {changed[0]}, which has changed since it made {trial.folder}"
    if reason:
        raise UserError("command", reason=reason, allowed="another --out, or delete the folders of these trainings")
    return True


def files_of(trial: Trial) -> dict[str, str]:
    """The sha256 of the small files among the words of a training, without what it writes."""
    paths = {word: trial.place / word for word in trial.words if not word.startswith(str(trial.folder))}
    found = {}
    for word, path in paths.items():
        with suppress(OSError):  # a word that is too long for a path
            if path.is_file() and path.stat().st_size <= MOST_BYTES:
                found[word] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def run(trial: Trial, retries: int, check: Callable[[], None] = lambda: None) -> Ended:
    """Run a training, again after a failure up to `retries` times; its output goes to its log.

    `check` is called several times a second; if it raises, the command ends. So it does if this thread's process dies.
    """
    trial.written.mkdir(parents=True, exist_ok=True)
    files, began = files_of(trial), time.monotonic()
    code, tries = 1, 0
    while code != 0 and tries <= retries:
        code, tries = _run_once(trial, check), tries + 1
    line, after = last_line(trial), files_of(trial)
    files = {word: digest for word, digest in files.items() if after.get(word) == digest}  # others are outputs, too
    found = Ended(trial.words, files, code, tries, time.monotonic() - began, platform.node(), line)
    temporary = trial.folder / f".{OUTCOME}.{os.getpid()}"
    temporary.write_text(json.dumps(asdict(found), indent=2), "utf-8")
    temporary.replace(trial.folder / OUTCOME)
    return found


def _run_once(trial: Trial, check: Callable[[], None]) -> int:
    with (trial.folder / LOG).open("ab") as log:
        log.write(f"$ {shlex.join(trial.words)}\n".encode())
        log.flush()
        try:
            process = subprocess.Popen(
                trial.words, cwd=trial.place, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, preexec_fn=_die_with_parent,
            )  # fmt: skip
        except OSError as error:
            log.write(f"{one_line(error)}\n".encode())
            return 127
        try:
            while True:
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(WAIT_SECONDS)
                check()
        finally:
            _end(process)


def _die_with_parent() -> None:
    with suppress(OSError, AttributeError):  # where there is no prctl, a killed worker leaves the command running
        _LIBRARY.prctl(PDEATHSIG, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with everything that it has started."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)


def last_line(trial: Trial) -> str:
    """The last line of a training's output that says anything."""
    with suppress(OSError), (trial.folder / LOG).open("rb") as log:
        log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
        lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        return printable(lines[-1])[:300] if lines and not lines[-1].startswith("$ ") else ""
    return ""


def outputs(trial: Trial, pattern: str) -> list[Path]:
    """The files that a training wrote, of a pattern relative to its folder, by their paths; numbers count as such."""

    def order(path: Path) -> list[tuple[int, str]]:
        parts = "".join(char if char.isdecimal() else f" {char} " for char in str(path)).split()
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]

    return sorted((path for path in trial.written.glob(pattern) if path.is_file()), key=order)
