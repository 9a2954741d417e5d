"""A real MLflow server on this machine that is killed, frozen and started again, and a network that loses answers.

Its database is a PostgreSQL of its own where that is installed, else an sqlite file.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

USER, PASSWORD = "mlflow", "corrEct-horse"
WITHOUT_ROOT = ("postgres", "nobody")
"""Whom PostgreSQL runs as when we are root, which it refuses."""
SECONDS = 120
"""Within which a server comes up on a busy machine."""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(is_up: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_up():
        assert process.poll() is None, log.read_text()[-2000:]
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def postgresql_programs() -> Path | None:
    """The folder of `initdb` and `postgres`, if they are installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


class PostgreSQL:
    """A database server that listens on loopback and asks for a password."""

    def __init__(self, programs: Path) -> None:
        self._programs, self._port = programs, free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's own folders are closed to other users
        names = [entry.pw_name for entry in pwd.getpwall()]
        self._user = next(name for name in WITHOUT_ROOT if name in names) if os.getuid() == 0 else None
        (self._folder / "password").write_text(PASSWORD)
        if self._user:
            for path in (self._folder, self._folder / "password"):
                shutil.chown(path, self._user)
        self._run("initdb", "-U", USER, "-A", "scram-sha-256", "--pwfile", str(self._folder / "password"), "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None
        self.uri = f"postgresql+psycopg2://{USER}:{PASSWORD}@127.0.0.1:{self._port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        subprocess.run(command, user=self._user, cwd=self._folder, check=True, capture_output=True)

    def start(self) -> None:
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), "-h", "127.0.0.1",
                   "-p", str(self._port), "-k", str(self._folder), "-c", "fsync=off"]  # fmt: skip
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, user=self._user, cwd=self._folder, stdout=output, stderr=subprocess.STDOUT
            )
        wait_until(self._accepts, self._process, log)

    def _accepts(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(self.uri.replace("+psycopg2", "")).close()
        except psycopg2.OperationalError:
            return False
        return True

    def kill(self) -> None:
        """At once: connections are cut, and what was committed is recovered at the next start."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
            self._process = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)


class TrackingServer:
    """An MLflow server at `uri`; use it as a context, within which it is up until it is killed."""

    def __init__(self, folder: Path) -> None:
        programs = postgresql_programs()
        self.database = PostgreSQL(programs) if programs else None
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def database_uri(self) -> str:
        return self.database.uri if self.database else f"sqlite:///{self.folder}/server.db"

    def __enter__(self) -> TrackingServer:
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
            self.database.remove()

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port),
                   "--workers", "1", "--artifacts-destination", str(self.folder / "artifacts")]  # fmt: skip
        environment = os.environ | {
            "MLFLOW_BACKEND_STORE_URI": self.database_uri,  # not as an argument, which every user of a machine can see
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        environment.pop("MLFLOW_TRACKING_URI", None)
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        wait_until(self._answers, self._process, log)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """As when its machine vanishes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
            self._process = None

    def freeze(self) -> None:
        """It still takes connections, and answers none."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)


class Network:
    """A way to a server, at `uri`, that can be cut, and on which something may happen to every request.

    `before(number, request)` is called with 0, 1, ... and such as "POST /api/2.0/mlflow/runs/create" ahead of passing
    it on, `after` ahead of passing the answer back; where one returns True the client hears no more of the request.
    """

    def __init__(self, port: int) -> None:
        self.requests: list[str] = []
        self.mend()
        network, lock = self, threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                request = f"{self.command} {self.path.partition('?')[0]}"
                with lock:
                    number = len(network.requests)
                    network.requests.append(request)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if network.is_cut or network.before(number, request):
                    return
                connection = HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                except OSError:
                    return
                finally:
                    connection.close()
                if network.after(number, request):
                    return
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with suppress(OSError):  # the client may have gone
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = forward  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> Network:
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
        self.before: Callable[[int, str], object] = lambda _number, _request: False
        self.after: Callable[[int, str], object] = lambda _number, _request: False
