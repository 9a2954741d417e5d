"""One driver for a run directory: its lease names it and changes while it lives."""

import threading
import time
import uuid
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from dbviz_ray.errors import UserError, one_line
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.drivers import Driver, Process, SupersededError, check_driver, last_driver
from dbviz_ray.store.layout import DRIVERS
from dbviz_ray.terminal.progress import say

BEAT_SECONDS = 5.0
BEATS_OBSERVED = 6
"""Missed heartbeats before a driver is presumed dead; a driver on this machine is looked up instead."""
_LONGEST_BEAT_SECONDS = 60.0


class Lease:
    """Context manager within which no other driver works on `directory`.

    A killed driver's lease is taken over at once on the same machine, elsewhere after `BEATS_OBSERVED` beats. Clocks of
    machines are not compared. A driver that could not reach the directory for so long may be taken for dead, and learns
    of it from `check`, and from whatever it writes in `directory.held_by(token)`. The lease is renewed every
    `beat_seconds`.

    UserError on entry, if another driver lives, or the directory cannot be written.
    """

    def __init__(self, directory: Directory, beat_seconds: float = BEAT_SECONDS) -> None:
        self._directory = directory.patient(0)  # a late beat is worth nothing
        since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        self.token = uuid.uuid4().hex
        """Identifies this driver."""
        self._own = Driver(Process.this(), self.token, since, 0, beat_seconds)
        self._file = ""
        self._superseded: SupersededError | None = None
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
        with suppress(OSError):  # also if another has taken over; the next driver recognises a leftover lease
            check_driver(self._directory, self.token)
            self._directory.write(self._file, replace(self._own, ended=True).content())

    def check(self) -> None:
        """SupersededError if another driver has taken over."""
        if self._superseded is not None:
            raise self._superseded

    def _acquire(self) -> None:
        while True:
            number, found = last_driver(self._directory)
            driver = Driver.of(found)
            if found is not None and not (driver and driver.ended):
                self._refuse_if_alive(found)
            self._file = f"{DRIVERS}/{number + 1:09}"
            if self._directory.create(self._file, self._own.content()):
                break
        for name in self._directory.files(DRIVERS):
            if name < self._file:
                self._directory.remove(name)

    def _refuse_if_alive(self, found: bytes) -> None:
        """UserError if the driver of the lease `found` lives. Watches the lease where the process cannot be seen."""
        driver = Driver.of(found)
        lives = driver.process.lives() if driver else None
        if lives is None:
            beat = min(driver.beat_seconds, _LONGEST_BEAT_SECONDS) if driver else 0
            seconds = BEATS_OBSERVED * max(self._own.beat_seconds, beat)
            say("lease", f"watching for {seconds:.0f} s whether the last driver lives ({driver})")
            lives, end = False, time.monotonic() + seconds
            while not lives and time.monotonic() < end:
                time.sleep(self._own.beat_seconds / 5)
                lives = last_driver(self._directory)[1] != found
        if lives:
            reason = f"{self._directory.root} is in use by another driver ({driver or 'of another version'})"
            allowed = "another directory, or the same command when that driver has ended or been killed"
            raise UserError("--out", reason=reason, allowed=allowed)

    def _keep_beating(self) -> None:
        driver = self._own
        while not self._ended.wait(driver.beat_seconds):
            driver = replace(driver, beat=driver.beat + 1)
            try:
                check_driver(self._directory, self.token)
                self._directory.write(self._file, driver.content())
            except SupersededError as error:
                self._superseded = error
                return
            except OSError:  # an outage: the next beat may get through
                continue
