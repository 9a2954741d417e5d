"""Another process logs to MLflow while the command analyses and draws."""

import os
import select
import sqlite3
import subprocess
import sys
from contextlib import AbstractContextManager, closing, suppress
from importlib.util import find_spec
from pathlib import Path

from dbviz_ray.config.addresses import without_password
from dbviz_ray.store import Store
from dbviz_ray.store.drivers import SupersededError
from dbviz_ray.terminal import not_installed

from .track import MLFLOW_ENVIRONMENT, TrackingUnavailableError, own_database, track, tracking_uri

PROGRAM = "import sys; from dbviz_ray.analysis.tracking.beside import track_when_told; track_when_told(*sys.argv[1:])"
LOCAL_DISKS = ("ext2/ext3", "xfs", "btrfs", "zfs", "overlayfs", "tmpfs")
SILENCE = 120.0
"""Seconds without a sign of progress after which MLflow counts as held up; a request takes 20 if nobody answers."""


class TrackingBeside(AbstractContextManager["TrackingBeside", None]):
    """Context manager: another process logs while this one analyses and draws, which takes as long.

    It is ended if MLflow makes no progress: a server that sends a byte now and then would hold this one for hours.
    """

    def __init__(self, store: Store) -> None:
        self._uri = without_password(tracking_uri(store))
        self._process: subprocess.Popen[bytes] | None = None
        self._reason = "another process cannot be started"
        if find_spec("mlflow") is None:
            self._reason = not_installed("mlflow")
            return
        command, none = [sys.executable, "-c", PROGRAM, store.root, store.driver], subprocess.DEVNULL
        environment, pipe = MLFLOW_ENVIRONMENT | os.environ, subprocess.PIPE
        with suppress(OSError):  # `drawn` tells
            self._process = subprocess.Popen(command, bufsize=0, stdin=pipe, stdout=pipe, stderr=none, env=environment)

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def analysed(self) -> None:
        """Tables and findings are stored: it logs them."""
        self._tell(b"analysed\n")

    def drawn(self) -> None:
        """Figures and report are stored, too; returns when all is logged. Raises TrackingUnavailableError."""
        self._tell(b"drawn\n")
        if self._process is None:
            raise TrackingUnavailableError(f"{self._uri}: {self._reason}")
        reason = self._said(self._process)
        if code := self._process.wait():
            raise TrackingUnavailableError(reason or f"{self._uri}: the process that logs ended with exit code {code}")

    def _tell(self, line: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):  # it has failed, which `drawn` tells
                self._process.stdin.write(line)

    def _said(self, process: subprocess.Popen[bytes]) -> str:
        """Why the process has failed, when it has ended; kills it if it is silent. It says why after empty lines."""
        assert process.stdout is not None
        said = b""
        while select.select([process.stdout], [], [], SILENCE)[0]:
            more = os.read(process.stdout.fileno(), 2**16)
            said = (said + more).lstrip()
            if not more:
                return said.decode(errors="replace").strip()
        process.kill()
        return f"{self._uri}: no progress for {SILENCE:.0f} s"


def _is_on_local_disk(path: Path) -> bool:
    """Whether only this machine writes there, as far as Linux tells: SQLite's write-ahead log needs that."""
    with suppress(OSError):
        return subprocess.run(["stat", "-fc%T", path], capture_output=True, text=True).stdout.strip() in LOCAL_DISKS
    return False


def track_when_told(root: str, driver: str) -> None:
    """The process of `TrackingBeside`: log what is stored in `root` when a line is read, and the files at the next.

    Writes an empty line before every step, and why if it fails.
    """

    def told() -> None:
        if not sys.stdin.readline():
            sys.exit("the command has ended before")

    store = Store(root).held_by(driver)
    from mlflow import MlflowClient

    database = own_database(store)
    if tracking_uri(store) == f"sqlite:///{database}" and not database.exists():
        made = Path(root, f".mlflow{os.getpid()}.tmp")  # the name of a leftover, should somebody kill this process
        MlflowClient(tracking_uri=f"sqlite:///{made}").search_experiments()
        with suppress(FileExistsError):  # another sweep's command has just made it
            os.link(made, database)
            if _is_on_local_disk(database):  # then a hundred runs are logged in half the time
                with closing(sqlite3.connect(database)) as connection:
                    connection.execute("PRAGMA journal_mode=WAL")
        made.unlink()
    told()
    try:
        track(store, store.sweep(), told, lambda: print(flush=True))
    except (TrackingUnavailableError, SupersededError) as error:
        print(error, flush=True)
        sys.exit(1)
