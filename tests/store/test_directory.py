"""One layer over local disks and object stores; and the lease, with which two drivers never work on one directory."""

import gc
import hashlib
import os
import pickle
import random
import re
import resource
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import Mock

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.ray_up_local import wait_for
from support.refusals import refused

from dbviz_ray.errors import UserError
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.drivers import Driver, Process, SupersededError, last_driver
from dbviz_ray.store.files import put
from dbviz_ray.store.layout import DRIVERS
from dbviz_ray.store.lease import BEATS_OBSERVED, Lease

pytest_plugins = ["support.object_store"]


def test_files_are_written_replaced_listed_and_removed(directory):
    directory.write("models/a/weights.bin", b"first")
    directory.write("models/a/weights.bin", b"second")
    directory.write("models/b/deeper/weights.bin", b"")
    directory.write("models/b/.hidden.weights.bin", b"")
    assert directory.read("models/a/weights.bin") == b"second"
    assert directory.read("models/b/deeper/weights.bin") == b""
    assert sorted(directory.files("models", "weights.bin")) == ["models/a/weights.bin", "models/b/deeper/weights.bin"]
    directory.remove("models/a/weights.bin")
    directory.remove("models/a/weights.bin")
    assert not directory.exists("models/a/weights.bin")
    assert directory.exists("models/b/deeper/weights.bin")
    assert not directory.exists("models/b"), "a folder is no file"
    directory.remove_folder("models/b")
    directory.remove_folder("models/b")
    with pytest.raises(TypeError):
        directory.write("models/c", "not bytes")
    assert directory.files("models", ".bin") == directory.files("nowhere", ".bin") == []
    with pytest.raises(FileNotFoundError):
        directory.read("models/b/deeper/weights.bin")


def test_it_travels_with_its_patience(directory):
    patient = directory.patient(7.0)
    patient.write("a", b"1")
    back = pickle.loads(pickle.dumps(patient))
    assert (back.patience, back.read("a"), directory.patience) == (7.0, b"1", 0.0)
    assert directory.patient().patience == 600


def test_of_many_creators_one_succeeds(directory):
    contents = [f"creator {number}".encode() for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda content: directory.create("a/lease", content), contents))
    assert sum(created) == 1
    assert not directory.create("a/lease", b"late")
    assert directory.read("a/lease") == contents[created.index(True)]


def test_creation_on_a_file_system_without_hard_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", Mock(side_effect=PermissionError(1, "Operation not permitted")))
    directory = Directory(tmp_path)
    assert directory.create("a", b"1")
    assert not directory.create("a", b"2")
    assert (directory.read("a"), os.listdir(tmp_path)) == (b"1", ["a"])


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "a/", "", ".", "a\\b", "a\0b", "a\nb", "\ud800"])
def test_names_that_could_lead_outside_are_refused(directory, name):
    reading = (directory.read, directory.exists, directory.path, directory.files)
    for operation in (*reading, directory.remove, directory.remove_folder):
        refused(operation, name)
    for write in (directory.write, directory.create):
        refused(write, name, b"")


@given(st.text(st.sampled_from("ab./\\\0\n~é ="), max_size=12))
def test_every_name_is_refused_or_stays_inside(tmp_path_factory, name):
    inside = Directory(tmp_path_factory.getbasetemp() / "names")
    try:
        path = inside.path(name)
    except UserError:
        return
    assert os.path.normpath(path) == path
    assert path.startswith(f"{inside.root}/")
    assert len(path) > len(inside.root) + 1


@pytest.mark.parametrize(
    "address",
    ["s3://AKIA:SECRET@bucket/run", "s3://AKIA:SEC/RET@bucket/run", "s3://AKIA@bucket/run", "gs://SECRET:x@bucket/run",
     "s3://bucket/run?access_key=AKIA&secret_key=SECRET", "s3://bucket/run?region=x&Session_Token=SECRET",
     "abfs://:SECRET@account/run", "abfs://:SEC/RET==@account/run", "abfss://c@account.host/run?sas_token=SECRET"],
)  # fmt: skip
def test_credentials_in_an_address_are_refused_and_not_repeated(address):
    told = str(refused(Directory, address))
    assert re.search("AWS_PROFILE|GOOGLE|AZURE", told)
    assert not re.search("AKIA|SEC|RET", told.replace("SECRET_ACCESS", ""))


def test_which_addresses_are_taken(tmp_path):
    for address in ("s3://bucket", "s3://bucket/a/b?region=x", "gs://anonymous@bucket/a",
                    "abfs://container@account.dfs.core.windows.net/a"):  # fmt: skip
        assert Directory(address).root == address
    Directory(f"file://{tmp_path}/run").write("a/b", b"1")
    assert (tmp_path / "run" / "a" / "b").read_bytes() == b"1"
    for address in ("http://host/x", "hdfs://host/x", "S3://bucket/x", "fsspec+memory://x"):
        mistake = refused(Directory, address)
        assert (mistake.field, mistake.value) == ("--out", address)


def test_a_disk_that_takes_no_more_leaves_the_old_file_and_nothing_else(tmp_path):
    """The limit on the size of a file stands in for a full disk; a process of its own, whose limit it is."""
    directory = Directory(tmp_path)
    directory.write("a", b"old")

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    code = f"from dbviz_ray.store.directory import Directory; Directory({str(tmp_path)!r}).write('a', bytes(2000))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, preexec_fn=limit)
    assert f"StorageError: {tmp_path}/a: [Errno 27] File too large" in result.stderr
    assert (directory.read("a"), os.listdir(tmp_path)) == (b"old", ["a"])


def test_an_object_whose_writing_fails_is_not_seen(server):
    directory = Directory(server.address("failing"))
    filesystem, path = directory._within("a")

    class Failing:
        def open_output_stream(self, path):
            self.stream = filesystem.open_output_stream(path)
            return self

        def write(self, content):
            self.stream.write(content.slice(0, 3))
            raise MemoryError

    with pytest.raises(MemoryError):
        put(Failing(), path, b"content")
    gc.collect()
    assert server.objects("failing") == {}


WRITER = """
import hashlib, os, sys
from dbviz_ray.terminal import interruption
from dbviz_ray.store.directory import Directory

interruption.install()
directory = Directory(sys.argv[1])
print("ready", flush=True)
while True:
    for number, size in enumerate((0, 100, 200_000, 11_000_000)):
        content = os.urandom(size)
        directory.write(f"a/{number}", hashlib.sha256(content).digest() + content)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_writer_that_dies_at_any_moment_leaves_whole_files(directory, number):
    """The last size is uploaded in parts."""
    generator = random.Random(number)
    seen: set[str] = set()
    killed = 0
    while killed < 3 or seen != {"0", "1", "2", "3"}:
        killed += 1
        command = [sys.executable, "-c", WRITER, directory.root]
        writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(generator.uniform(0, 0.3 * killed))  # on a busy machine a writer needs longer to get far
        writer.send_signal(number)
        assert writer.wait(timeout=60) != 0
        for path in directory.files("a", ""):
            content = directory.read(f"a/{path[-1]}")
            assert hashlib.sha256(content[32:]).digest() == content[:32], path
            seen.add(path[-1])


BEAT = 0.2
HOLDER = f"""
import sys, time
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.lease import Lease

with Lease(Directory(sys.argv[1]), beat_seconds={BEAT}):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


def holder(directory: Directory, seconds: float = 60) -> subprocess.Popen[str]:
    """A driver in a process of its own; the caller ends it."""
    words = [sys.executable, "-c", HOLDER, directory.root, str(seconds)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def hold(directory: Directory) -> None:
    with Lease(directory, BEAT):
        pass


def last(directory: Directory) -> Driver:
    return Driver.of(last_driver(directory)[1])


def put_driver(directory: Directory, content: bytes, later: int = 1) -> None:
    """Write the file of a driver, the next one or, if `later` is 0, that of the last one."""
    directory.write(f"{DRIVERS}/{last_driver(directory)[0] + later:09}", content)


def elsewhere(directory: Directory) -> Driver:
    """The lease of a driver on another machine, as it would write it."""
    driver = Driver(Process("far", 7, "another start", "1"), uuid.uuid4().hex, "2026-11-25 10:00:00 UTC", 0, BEAT)
    put_driver(directory, driver.content())
    return driver


def test_a_second_driver_is_refused_until_the_first_is_killed_and_then_takes_over_at_once(directory):
    first = holder(directory)
    try:
        assert first.stdout.readline() == "held\n"
        began = time.monotonic()
        told = str(refused(hold, directory))
        assert time.monotonic() - began < 2, "a process of this machine is looked at"
        assert all(part in told for part in (f"{directory.root} ", f"process {first.pid} on {os.uname().nodename}"))
    finally:
        first.kill()
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    began = time.monotonic()
    with Lease(directory) as lease:
        assert time.monotonic() - began < 5
        lease.check()
        assert last(directory).process.pid == os.getpid()
    first.communicate()


def test_a_lease_is_gone_when_its_driver_ends(directory):
    for _ in range(2):
        with Lease(directory, BEAT) as lease:
            assert last(directory).process == Process.this()
            time.sleep(3.5 * BEAT)
            lease.check()
            assert last(directory).beat >= 1
            assert f"process {os.getpid()} " in str(refused(hold, directory))
        assert last(directory).ended
    assert len(directory.files(DRIVERS)) == 1


def test_a_driver_elsewhere_is_known_by_its_beat(directory, capsys):
    driver = elsewhere(directory)
    with ThreadPoolExecutor(1) as pool:

        def beat():
            time.sleep(2 * BEAT)
            put_driver(directory, replace(driver, beat=1).content(), later=0)

        beating = pool.submit(beat)
        assert "process 7 on far" in str(refused(hold, directory))
        beating.result()
    assert "process 7 on far" in capsys.readouterr().err
    began = time.monotonic()
    with Lease(directory, BEAT) as lease:
        lease.check()
        assert time.monotonic() - began > BEATS_OBSERVED * BEAT


def test_a_lease_that_cannot_be_read_is_waited_out(directory):
    unreadable = [b"", b"{}", b'{"process": 3}', b'{"process": {"pid": "x"}}', b"\xff", b"[1]"]

    def wait_out(number: int) -> int:
        damaged = Directory(f"{directory.root}/{number}")
        put_driver(damaged, unreadable[number])
        began = time.monotonic()
        with Lease(damaged, BEAT):
            assert time.monotonic() - began > BEATS_OBSERVED * BEAT
            return last(damaged).process.pid

    with ThreadPoolExecutor(len(unreadable)) as pool:
        assert set(pool.map(wait_out, range(len(unreadable)))) == {os.getpid()}


def test_a_driver_and_its_workers_write_nothing_once_it_was_taken_over(directory):
    """Nor do they delete. The successor's successor may have ended long ago."""
    with Lease(directory, BEAT) as lease:
        own = pickle.loads(pickle.dumps(directory.held_by(lease.token)))  # as a worker gets it
        own.write("file", b"own")
        other = elsewhere(directory)
        writes = [lambda: own.write("file", b""), lambda: own.create("new", b""), lambda: own.remove("file")]
        for write in [*writes, lambda: own.remove_folder("")]:
            with pytest.raises(SupersededError, match="process 7 on far"):
                write()
        assert directory.held_by(other.token).read("file") == b"own"
        put_driver(directory, replace(other, token="third", ended=True).content())

        def taken_over_for_long() -> None:
            for _ in range(50):
                time.sleep(2 * BEAT)
                lease.check()

        with pytest.raises(SupersededError, match="process 7 on far"):
            taken_over_for_long()
    assert last(directory).token == "third", "another's lease stays"
    hold(directory)


def test_of_drivers_that_find_a_dead_one_together_one_takes_over(directory):
    """Its number belongs to another process by now."""
    dead = replace(Process.this(), started="1")
    assert dead.lives() is False
    put_driver(directory, replace(elsewhere(directory), process=dead).content(), later=0)
    drivers = [holder(directory, 3) for _ in range(4)]
    told = [driver.communicate(timeout=60) for driver in drivers]
    assert sorted(out for out, _ in told) == ["", "", "", "held\n"]
    assert all("UserError" in error for out, error in told if not out)


def test_an_outage_ends_no_driver(server):
    directory = Directory(server.address("outage"))
    with Lease(directory, BEAT) as lease:
        server.stop()
        time.sleep(1)
        server.start()
        before = last(directory).beat
        wait_for(lambda: last(directory).beat != before, 30)
        lease.check()
