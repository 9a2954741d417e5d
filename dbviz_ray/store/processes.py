"""Processes that can be told apart from those that get their numbers later, and from those of other machines."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

_ENDED = "ZX"
"""States of processes that were killed and that nobody has asked for yet."""


@dataclass(frozen=True)
class Process:
    """One process of one machine.

    `numbering` says among which processes `pid` is unique (the start of a system, and the container), `started` when
    the process came in there; both are empty where there is no /proc.
    """

    host: str
    pid: int
    numbering: str
    started: str

    @classmethod
    def this(cls) -> Process:
        """The process that asks."""
        return cls(platform.node(), os.getpid(), _numbering(), _state_and_start(os.getpid())[1])

    def lives(self) -> bool | None:
        """Whether it does; None if that cannot be told from here."""
        if not self.numbering or self.numbering != _numbering():
            return None
        state, started = _state_and_start(self.pid)
        return started == self.started and state not in _ENDED


def _numbering() -> str:
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _state_and_start(pid: int) -> tuple[str, str]:
    """State and time of start, in ticks; both empty if there is no such process, or no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # the name before may hold anything
    except OSError:
        return "", ""
    return fields[0], fields[19]
