"""Who works on a run directory: numbered files, of which the last one names the driver.

A driver takes over by creating the next number, which only one can. Whoever writes looks whether the last file is still
its driver's: a driver that slept while it was replaced writes nothing more.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from dbviz_ray.errors import StorageError
from dbviz_ray.store.layout import DRIVERS

if TYPE_CHECKING:
    from dbviz_ray.store.directory import Directory

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
    ended: bool = False

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


class SupersededError(StorageError):
    """Another driver has taken over the run directory."""


def last_driver(directory: Directory) -> tuple[int, bytes | None]:
    """The number and the content of the last driver's file; 0 and None without one."""
    while True:
        names = directory.files(DRIVERS)
        if not names:
            return 0, None
        try:
            return int(max(names).rpartition("/")[2]), directory.read(max(names))
        except FileNotFoundError:  # its successor has just removed it
            continue


def check_driver(directory: Directory, token: str) -> None:
    """SupersededError if another driver than the one with this token is the last."""
    driver = Driver.of(last_driver(directory)[1])
    if driver is not None and driver.token != token:
        raise SupersededError(f"{directory.root} was taken over by another driver ({driver}); this one ends")


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
