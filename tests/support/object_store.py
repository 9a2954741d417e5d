"""An S3 server of moto's in a process of its own, behind a door that can be shut, and run directories in it."""

import re
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from support.tracking_server import free_port
from support.whole_sweeps import PLANTED_KEY

from dbviz_ray.store.directory import Directory

BUCKET = "bucket"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": PLANTED_KEY,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_REQUEST = re.compile(r'"(?:\x1b\[\d+m)*([A-Z]+ /\S*) HTTP/1\.1(?:\x1b\[0m)?" \d')  # moto tells some in colour


class ObjectStore:
    """What clients see of a server with one bucket.

    moto holds objects in memory, so the server itself lives on while it is `stopped`: connections break, and whoever
    calls is refused, which is all that a client sees of a server that ended.
    """

    def __init__(self, port: int, log: Path) -> None:
        self._log, self._door = log, _Door(port)
        self.start, self.stop = self._door.open, self._door.shut
        self.endpoint = f"http://127.0.0.1:{self._door.port}"
        self.client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}")

    def address(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}"

    def names(self, prefix: str) -> list[str]:
        """Whatever begins with a prefix, without passing the door."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Everything under a prefix, by its name relative to that."""
        found = {}
        for name in self.names(f"{prefix}/"):
            body = self.client.get_object(Bucket=BUCKET, Key=name)["Body"]
            found[name.removeprefix(f"{prefix}/")] = body.read()
        return found

    def requests(self) -> list[str]:
        """Method and path of every request so far."""
        return [unquote(line) for line in _REQUEST.findall(self._log.read_text(errors="replace"))]


class _Door:
    """Passes connections on to another port of this machine while it is open."""

    def __init__(self, inner: int) -> None:
        self.port = free_port()
        self._inner = inner
        self._listener: socket.socket | None = None
        self._open = set[socket.socket]()

    def open(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
            self._listener.close()
        self._listener = None
        for connection in list(self._open):
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # breaks off
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(listener.accept()[0],), daemon=True).start()

    def _serve(self, outer: socket.socket) -> None:
        with outer, socket.create_connection(("127.0.0.1", self._inner)) as inner:
            self._open |= {outer, inner}
            back = threading.Thread(target=_pass_on, args=(inner, outer), daemon=True)
            back.start()
            _pass_on(outer, inner)
            back.join()
            self._open -= {outer, inner}


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server, to which the environment leads within."""
    log, port = tmp_path_factory.mktemp("server") / "server.log", free_port()
    with log.open("wb") as output, pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        server = ObjectStore(port, log)
        environment.setenv("AWS_ENDPOINT_URL", server.endpoint)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=output)
        while not _answers(port):
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        server.start()
        server.client.create_bucket(Bucket=BUCKET)
        yield server
        server.stop()
        process.kill()
        process.wait()


@pytest.fixture(params=["local", "s3"])
def directory(request, tmp_path):
    if request.param == "local":
        return Directory(tmp_path / "run")
    return Directory(request.getfixturevalue("server").address(uuid.uuid4().hex))
