"""Two drivers never work on one run directory, on a disk or in an object store."""

import os
import pickle
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.refusals import refused

from dbviz_ray.store.directory import Directory
from dbviz_ray.store.drivers import Driver, Process, SupersededError, last_driver
from dbviz_ray.store.layout import DRIVERS
from dbviz_ray.store.lease import BEATS_OBSERVED, Lease

pytest_plugins = ["support.object_store"]

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


def put(directory: Directory, content: bytes, later: int = 1) -> None:
    """Write the file of a driver, the next one or, if `later` is 0, that of the last one."""
    directory.write(f"{DRIVERS}/{last_driver(directory)[0] + later:09}", content)


def elsewhere(directory: Directory) -> Driver:
    """The lease of a driver on another machine, as it would write it."""
    driver = Driver(Process("far", 7, "another start", "1"), uuid.uuid4().hex, "2026-11-25 10:00:00 UTC", 0, BEAT)
    put(directory, driver.content())
    return driver


def test_a_second_driver_is_refused_until_the_first_ends(directory):
    first = holder(directory)
    try:
        assert first.stdout.readline() == "held\n"
        began = time.monotonic()
        told = str(refused(hold, directory))
        assert time.monotonic() - began < 2, "a process of this machine is looked at"
        assert all(part in told for part in (f"{directory.root} ", f"process {first.pid} on {os.uname().nodename}"))
    finally:
        first.kill()
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


def test_a_killed_drivers_lease_is_taken_over_at_once(directory):
    first = holder(directory)
    assert first.stdout.readline() == "held\n"
    first.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    began = time.monotonic()
    with Lease(directory) as lease:
        assert time.monotonic() - began < 5
        lease.check()
        assert last(directory).process.pid == os.getpid()
    first.communicate()


def test_a_driver_elsewhere_is_known_by_its_beat(directory, capsys):
    driver = elsewhere(directory)
    with ThreadPoolExecutor(1) as pool:

        def beat():
            time.sleep(2 * BEAT)
            put(directory, replace(driver, beat=1).content(), later=0)

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
        put(damaged, unreadable[number])
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
        put(directory, replace(other, token="third", ended=True).content())

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
    put(directory, replace(elsewhere(directory), process=dead).content(), later=0)
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
        deadline = time.monotonic() + 30
        while last(directory).beat == before:
            assert time.monotonic() < deadline
            time.sleep(BEAT)
        lease.check()
