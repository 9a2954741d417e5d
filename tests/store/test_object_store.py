"""Runs in an object store: what they ask of it, its outages, and a whole sweep through one."""

import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from support.object_store import BUCKET, ObjectStore
from support.tracking_server import TrackingServer, everything_in
from support.whole_sweeps import PLANTED_KEY, SMALL, command, tables

from dbviz_ray import load_run
from dbviz_ray.errors import StorageError, UserError
from dbviz_ray.store import Store
from dbviz_ray.store.directory import Directory, may_pass
from dbviz_ray.store.layout import DRIVERS

pytest_plugins = ["support.object_store"]


def requests_of(server: ObjectStore, operation) -> list[str]:
    """Method and path of what an operation asks of the server."""
    before = len(server.requests())
    operation()
    return server.requests()[before:]


def test_a_small_file_is_one_request(server):
    directory = Directory(server.address("small"))
    assert requests_of(server, lambda: directory.write("a/b", b"x")) == [f"PUT /{BUCKET}/small/a/b"]
    assert requests_of(server, lambda: directory.exists("a/b")) == [f"HEAD /{BUCKET}/small/a/b"]
    read = [f"{method} /{BUCKET}/small/a/b" for method in ("HEAD", "GET")]
    assert requests_of(server, lambda: directory.read("a/b")) == read


@pytest.mark.parametrize("models", [1, 600])
def test_a_listing_is_one_request_for_a_thousand_files(server, models):
    store = Store(server.address(f"listing{models}"))
    for number in range(models):
        for file in ("model.json", "weights.safetensors"):
            server.client.put_object(Bucket=BUCKET, Key=f"listing{models}/models/m{number}/{file}", Body=b"")
    found = []
    asked = requests_of(server, lambda: found.append(store.complete_models()))
    assert found == [{f"m{number}" for number in range(models)}]
    assert len(asked) == 1 + 2 * models // 1000


def test_an_endpoint_can_stand_in_the_address(server, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    settings = f"?endpoint_override={server.endpoint.removeprefix('http://').replace(':', '%3A')}&scheme=http"
    directory = Directory(server.address("endpoint") + settings)
    directory.write("a/b", b"x")
    assert server.objects("endpoint") == {"a/b": b"x"}
    assert directory.path("a/b") == server.address("endpoint/a/b") + settings


def test_a_patient_directory_works_through_an_outage(server, capfd):
    """Files of several sizes are written and read again without a pause, so that it meets each operation somewhere."""
    directory = Directory(server.address("patient")).patient(60)
    end = time.monotonic() + 10

    def work(worker: int) -> int:
        done = 0
        while time.monotonic() < end:
            name, content = f"{worker}/file", os.urandom((100, 200_000, 11_000_000)[done % 3])
            directory.write(name, content)
            assert directory.exists(name)
            assert directory.read(name) == content
            assert len(directory.files(str(worker), "file")) == 1
            directory.remove(name)
            done += 1
        return done

    with ThreadPoolExecutor(4) as pool:
        working = [pool.submit(work, worker) for worker in range(4)]
        time.sleep(1)
        server.stop()
        time.sleep(7)  # pyarrow itself tries for six seconds
        server.start()
        assert min(future.result() for future in working) >= 2
    said = capfd.readouterr().err
    assert said.count("trying for 5") == said.count("there again after") > 0


@pytest.fixture
def stopped(server):
    server.stop()
    yield server
    server.start()


def test_first_contact_does_not_wait_and_patience_ends(stopped, sweep):
    began = time.monotonic()
    with pytest.raises(UserError, match="--out: s3://bucket/absent"):
        Store(stopped.address("absent")).check_owner(sweep)
    assert time.monotonic() - began < 15
    began = time.monotonic()
    with pytest.raises(StorageError, match="s3://bucket/patience/a"):
        Directory(stopped.address("patience")).patient(4).read("a")
    assert 4 <= time.monotonic() - began < 30


def test_what_does_not_pass_is_not_waited_for(server):
    began = time.monotonic()
    with pytest.raises(StorageError, match="NO_SUCH_BUCKET"):
        Directory("s3://no-such-bucket/run").patient(60).write("a", b"")
    with pytest.raises(FileNotFoundError):
        Directory(server.address("absent")).patient(60).read("a")
    assert time.monotonic() - began < 5


class Refusing(BaseHTTPRequestHandler):
    def answer(self) -> None:
        status, code = self.server.answer
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_HEAD = do_PUT = do_POST = answer  # noqa: N815

    def log_message(self, *_) -> None:
        pass


@pytest.mark.parametrize(
    ("status", "code", "passes"),
    [(503, "SlowDown", True), (429, "TooManyRequests", True),
     (403, "AccessDenied", False), (403, "InvalidAccessKeyId", False), (403, "SignatureDoesNotMatch", False),
     (400, "ExpiredToken", False), (301, "PermanentRedirect", False)],
)  # fmt: skip
def test_which_answers_may_pass(monkeypatch, server, status, code, passes):
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as refusing:
        refusing.answer = (status, code)
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{refusing.server_port}")
        directory = Directory("s3://bucket/run")
        with ThreadPoolExecutor(2) as pool:  # pyarrow itself tries for six seconds
            asked = [pool.submit(directory.read, "a"), pool.submit(directory.files, "a", "")]
            errors = [future.exception() for future in asked]
        refusing.shutdown()
    for error in errors:
        assert isinstance(error, StorageError)
        assert may_pass(error) == passes, error


@pytest.mark.slow
@pytest.mark.nightly
@pytest.mark.timeout(600)
def test_a_sweep_through_outages_ends_with_the_tables_of_a_local_one(server, undisturbed, tmp_path):
    """The server is stopped for eight seconds while models are trained, and again while they are evaluated."""
    log = tmp_path / "s3.log"
    with TrackingServer(tmp_path) as tracking, log.open("wb") as said:
        words, uri = command(server.address("sweep"), *SMALL, "--verbose"), {"MLFLOW_TRACKING_URI": tracking.uri}
        process = subprocess.Popen(words, stdout=said, stderr=said, cwd=tmp_path, env=os.environ | uri)
        for folder, ending in (("cohorts", "state.safetensors"), ("labels", "labels.parquet")):
            while not any(name.endswith(ending) for name in server.names(f"sweep/{folder}/")):
                assert process.poll() is None, f"the command ended before {ending} was there"
                time.sleep(0.05)
            server.stop()
            time.sleep(8)
            server.start()
        assert process.wait(timeout=400) == 0, log.read_text()
        logged = everything_in(tracking.database_uri).encode()
    messages = log.read_text()
    assert messages.count("there again after") >= 2, "both outages were met"
    # Python reports the end of a worker that Ray ends within a callback so.
    assert messages.count("Traceback") == messages.count("Exception ignored in")
    objects = server.objects("sweep")
    scores = {Path(name).stem: content for name, content in objects.items() if fnmatch(name, "scores/*.csv")}
    assert scores | {"pairs": objects["scores/pairs.parquet"]} == tables(undisturbed[0])
    assert sum(name.startswith(DRIVERS) for name in objects) == 1
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert PLANTED_KEY.encode() not in b"".join([logged, *objects.values(), *files])
    assert b"test_error" in logged
    report, far, near = objects["report.html"], load_run(server.address("sweep")), load_run(undisturbed[0])
    assert report.startswith(b"<!DOCTYPE html>")
    model = near.models["model_id"][0]
    np.testing.assert_array_equal(far.label_maps(model), near.label_maps(model))
