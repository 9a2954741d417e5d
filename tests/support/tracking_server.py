"""A real MLflow server on this machine that is killed, frozen and started again, and a network that loses answers.

Its database is a PostgreSQL of its own where that is installed, else an sqlite file.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

import pandas as pd
import psycopg2
import requests
import sqlalchemy

USER, PASSWORD = "mlflow", "corrEct-horse"
SECONDS = 120
"""Within which a server comes up on a busy machine."""


def free_port() -> int:
    """A port that Linux gives to no outgoing connection, so that a server can come back to it."""
    while True:
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port := 27_000 + secrets.randbelow(5_000)))
            return port


class Program:
    """A server in a process group of its own, which is started and killed again and again."""

    ends_by: signal.Signals
    command: Sequence[str]
    is_up: Callable[[], bool]
    environment: dict[str, str] | None = None
    user: str | None = None

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command, env=self.environment, user=self.user, cwd=self.folder, start_new_session=True,
                stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while not self.is_up():
            assert (self._process.poll(), time.monotonic() < deadline) == (None, True), log.read_text()[-2000:]
            time.sleep(0.1)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """At once, as when its machine vanishes."""
        if self._process is not None:
            self.send(self.ends_by)
            self._process.wait(30)
            self._process = None


def postgresql_programs() -> Path | None:
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


class PostgreSQL(Program):
    """A database server that listens on loopback, asks for a password, and recovers at a start what was committed."""

    ends_by = signal.SIGQUIT

    def __init__(self, programs: Path) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix="postgresql-")))  # pytest's folders are closed to other users
        data, password = str(self.folder / "data"), self.folder / "password"
        password.write_text(PASSWORD)
        if os.getuid() == 0:  # as whom PostgreSQL refuses to run
            self.user = "nobody"
            for path in (self.folder, password):
                shutil.chown(path, self.user)
        made = [str(programs / "initdb"), "-D", data, "-U", USER, "-A", "scram-sha-256", "--pwfile", str(password)]
        subprocess.run([*made, "--no-sync"], user=self.user, cwd=self.folder, check=True, capture_output=True)
        self.command = [str(programs / "postgres"), "-D", data, "-h", "127.0.0.1", "-p", str(self.port),
                        "-k", str(self.folder), "-c", "fsync=off"]  # fmt: skip
        self.uri = f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def is_up(self) -> bool:
        with suppress(psycopg2.OperationalError):
            psycopg2.connect(self.uri.replace("+psycopg2", "")).close()
            return True
        return False


class TrackingServer(Program):
    """An MLflow server at `uri`; use it as a context, within which it is up until it is killed."""

    ends_by = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        programs = postgresql_programs()
        self.database = PostgreSQL(programs) if programs else None
        self.database_uri = self.database.uri if self.database else f"sqlite:///{folder}/server.db"
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
                        "--workers", "1", "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
        self.environment = os.environ | {
            "MLFLOW_BACKEND_STORE_URI": self.database_uri,  # not as an argument, which every user of a machine can see
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def __enter__(self) -> Self:
        try:
            if self.database:
                self.database.start()
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self.database:
            self.database.kill()
            shutil.rmtree(self.database.folder)

    def is_up(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.uri}/health", timeout=2).ok
        return False

    def freeze(self) -> None:
        """It still takes connections, and answers none."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        self.send(signal.SIGCONT)


def everything_in(database_uri: str) -> str:
    """All rows of all tables of a database, as text."""
    engine = sqlalchemy.create_engine(database_uri)
    names = sqlalchemy.inspect(engine).get_table_names()
    content = "\n".join(pd.read_sql_table(name, engine).to_csv() for name in names)
    engine.dispose()
    return content


class Network:
    """A way to a server, at `uri`, that can be cut, and on which something may happen to every request.

    `before(number)` is called with 0, 1, ... ahead of passing a request on, `after(number)` ahead of passing the answer
    back; where one returns True the client hears no more of the request.
    """

    def __init__(self, port: int) -> None:
        self.requests: list[str] = []
        """Such as "POST /api/2.0/mlflow/runs/create"."""
        self.mend()
        network, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                with lock:
                    number = len(network.requests)
                    network.requests.append(f"{self.command} {self.path.partition('?')[0]}")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if network.is_cut or network.before(number):
                    return
                uri = f"http://127.0.0.1:{port}{self.path}"
                try:
                    answer = requests.request(self.command, uri, data=body, headers=dict(self.headers), timeout=60)
                except requests.RequestException:
                    return
                if network.after(number):
                    return
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                with suppress(OSError):  # the client may have gone
                    self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = forward  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def cut(self) -> bool:
        """Nothing passes any more, nor what is on its way."""
        self.is_cut = True
        return True

    def mend(self) -> None:
        """Everything passes, and nothing happens to it."""
        self.is_cut = False
        self.before: Callable[[int], object] = lambda number: False
        self.after: Callable[[int], object] = lambda number: False
