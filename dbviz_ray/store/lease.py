"""One driver for a run directory: a lease file names the driver and changes while the driver lives."""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

from dbviz_ray.errors import UserError, one_line
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.files import SETTLE_SECONDS
from dbviz_ray.store.layout import LEASE_FILE
from dbviz_ray.terminal.progress import say

BEAT_SECONDS = 5.0
BEATS_OBSERVED = 6
"""Missed heartbeats before a driver is presumed dead; a driver on this machine is looked up instead."""
_LONGEST_BEAT_SECONDS = 60.0
_SETTLE_LOCAL_SECONDS = 0.3
"""Like `SETTLE_SECONDS`, for a local disk, where a check and a write take milliseconds."""
_ENDED = "ZX"
"""States of dead processes that their parents have not yet waited for."""


@dataclass(frozen=True)
class Process:
    """One process of one machine.

    `pid` is unique within `numbering` (one boot of a system, and one container) together with `started`, the start
    time of the process; both are empty without /proc.
    """

    host: str
    pid: int
    numbering: str
    started: str

    @classmethod
    def this(cls) -> Process:
        """This process."""
        return cls(platform.node(), os.getpid(), _numbering(), _state_and_start(os.getpid())[1])

    def lives(self) -> bool | None:
        """Whether it lives; None if this process cannot tell."""
        if not self.numbering or self.numbering != _numbering():
            return None
        state, started = _state_and_start(self.pid)
        return started == self.started and state not in _ENDED


@dataclass(frozen=True)
class Driver:
    """The holder of a lease."""

    process: Process
    token: str
    """Unique to this lease."""
    since: str
    beat: int
    beat_seconds: float

    def content(self) -> bytes:
        """The content of the lease file."""
        return _DRIVERS.dump_json(self, indent=2) + b"\n"

    @classmethod
    def of(cls, content: bytes | None) -> Driver | None:
        """The driver that `content()` described; None for anything else."""
        try:
            return _DRIVERS.validate_json(content or b"")
        except ValidationError:
            return None

    def __str__(self) -> str:
        return " ".join(f"process {self.process.pid} on {self.process.host}, since {self.since}".split())


_DRIVERS = TypeAdapter(Driver)


class SupersededError(Exception):
    """Another driver has taken over the run directory."""


def check_driver(directory: Directory, token: str) -> None:
    """SupersededError unless the driver with this token holds the lease of `directory`, or nobody does.

    Workers outlive a killed driver by some seconds; they check before they write files that the workers of the next
    driver write too.
    """
    driver = Driver.of(_content(directory))
    if driver is not None and driver.token != token:
        raise SupersededError(f"{directory.root} has been taken over by another driver ({driver})")


class Lease:
    """Context manager within which no other driver works on `directory`.

    A killed driver's lease is taken over at once on the same machine, elsewhere after `BEATS_OBSERVED` beats. Clocks of
    machines are not compared. A driver that could not reach the directory for so long may be taken for dead, and learns
    of it from `check`. The lease is renewed every `beat_seconds`.

    UserError on entry, if another driver lives, or the directory cannot be written.
    """

    def __init__(self, directory: Directory, beat_seconds: float = BEAT_SECONDS) -> None:
        self._directory = directory.patient(0)  # a late beat is worth nothing
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        self.token = uuid.uuid4().hex
        """Identifies this driver to `check_driver`."""
        self._own = Driver(Process.this(), self.token, since, 0, beat_seconds)
        self._successor: Driver | None = None
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._keep_beating, name="lease", daemon=True)

    def __enter__(self) -> Self:
        try:
            self._acquire()
        except OSError as error:
            raise UserError("--out", reason=f"{self._directory.root} cannot be written ({one_line(error)})") from None
        self._heart.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._heart.join(timeout=2 * self._own.beat_seconds)
        with suppress(OSError):  # the next driver recognises a leftover lease
            if self._is_held():
                self._directory.remove(LEASE_FILE)

    def check(self) -> None:
        """UserError if another driver has taken over."""
        if self._successor is not None:
            taken = f"{self._directory.root}, which was taken over by another one ({self._successor})"
            raise UserError("--out", reason=f"this driver could not reach {taken}; this one ends")

    def _acquire(self) -> None:
        while not self._directory.create(LEASE_FILE, self._own.content()):
            found = _content(self._directory)
            if found is None:  # the other driver has just ended
                continue
            self._refuse_if_alive(found)
            self._directory.write(LEASE_FILE, self._own.content())
            time.sleep(_SETTLE_LOCAL_SECONDS if self._directory.is_local else SETTLE_SECONDS)
            if self._is_held():  # otherwise a third driver was later
                return

    def _refuse_if_alive(self, found: bytes) -> None:
        """UserError if the driver of the lease `found` lives. Watches the lease where the process cannot be seen."""
        driver = Driver.of(found)
        lives = driver.process.lives() if driver else None
        if lives is None:
            beat = min(driver.beat_seconds, _LONGEST_BEAT_SECONDS) if driver else 0
            seconds = BEATS_OBSERVED * max(self._own.beat_seconds, beat)
            say("lease", f"watching for {seconds:.0f} s whether the last driver lives ({driver})")
            lives = self._changes(found, seconds)
        if lives:
            reason = f"{self._directory.root} is in use by another driver ({driver or 'of another version'})"
            allowed = "another directory, or the same command when that driver has ended or been killed"
            raise UserError("--out", reason=reason, allowed=allowed)

    def _changes(self, found: bytes, seconds: float) -> bool:
        """Whether the lease changes within `seconds`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self._own.beat_seconds / 5)
            if _content(self._directory) not in (None, found):
                return True
        return False

    def _keep_beating(self) -> None:
        driver = self._own
        while not self._ended.wait(driver.beat_seconds):
            driver = replace(driver, beat=driver.beat + 1)
            with suppress(OSError):  # an outage: the next beat may get through
                other = Driver.of(_content(self._directory))
                if other is not None and other.token != self.token:
                    self._successor = other
                    return
                self._directory.write(LEASE_FILE, driver.content())

    def _is_held(self) -> bool:
        driver = Driver.of(_content(self._directory))
        return driver is not None and driver.token == self.token


def _content(directory: Directory) -> bytes | None:
    """The lease file; None if there is none."""
    try:
        return directory.read(LEASE_FILE)
    except FileNotFoundError:
        return None


def _numbering() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _state_and_start(pid: int) -> tuple[str, str]:
    """State and start time in ticks; both empty without such a process or without /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # a name may hold anything
    except OSError:
        return "", ""
    return fields[0], fields[19]
