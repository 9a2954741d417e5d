"""Two drivers never work on one run directory, on a disk or in an object store."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from support.refusals import refused

from dbviz_ray.errors import UserError
from dbviz_ray.store.directory import Directory
from dbviz_ray.store.layout import LEASE_FILE
from dbviz_ray.store.lease import BEATS_OBSERVED, Driver, Lease, Process, SupersededError, check_driver

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


def elsewhere(directory: Directory) -> Driver:
    """The lease of a driver on another machine, as it would write it."""
    driver = Driver(Process("far", 7, "another start", "1"), uuid.uuid4().hex, "2026-11-25 10:00:00 UTC", 0, BEAT)
    directory.write(LEASE_FILE, driver.content())
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
            assert Driver.of(directory.read(LEASE_FILE)).process == Process.this()
            time.sleep(3.5 * BEAT)
            lease.check()
            assert Driver.of(directory.read(LEASE_FILE)).beat >= 1
            assert f"process {os.getpid()} " in str(refused(hold, directory))
        assert not directory.exists(LEASE_FILE)


def test_a_killed_drivers_lease_is_taken_over_at_once(directory):
    first = holder(directory)
    assert first.stdout.readline() == "held\n"
    first.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    began = time.monotonic()
    with Lease(directory) as lease:
        assert time.monotonic() - began < 5
        lease.check()
        assert Driver.of(directory.read(LEASE_FILE)).process.pid == os.getpid()
    first.communicate()


def test_a_driver_elsewhere_is_known_by_its_beat(directory, capsys):
    driver = elsewhere(directory)
    with ThreadPoolExecutor(1) as pool:

        def beat():
            time.sleep(2 * BEAT)
            directory.write(LEASE_FILE, replace(driver, beat=1).content())

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
        damaged.write(LEASE_FILE, unreadable[number])
        began = time.monotonic()
        with Lease(damaged, BEAT):
            assert time.monotonic() - began > BEATS_OBSERVED * BEAT
            return json.loads(damaged.read(LEASE_FILE))["process"]["pid"]

    with ThreadPoolExecutor(len(unreadable)) as pool:
        assert set(pool.map(wait_out, range(len(unreadable)))) == {os.getpid()}


def test_a_driver_and_its_workers_learn_that_it_was_taken_over(directory):
    with Lease(directory, BEAT) as lease:
        check_driver(directory, lease.token)
        other = elsewhere(directory)
        with pytest.raises(SupersededError, match="far"):
            check_driver(directory, lease.token)
        check_driver(directory, other.token)

        def taken_over_for_long() -> None:
            for _ in range(50):
                directory.write(LEASE_FILE, other.content())  # again, should a beat that had just looked replace it
                time.sleep(2 * BEAT)
                lease.check()

        with pytest.raises(UserError, match="process 7 on far"):
            taken_over_for_long()
    assert Driver.of(directory.read(LEASE_FILE)) == other, "another's lease stays"
    directory.remove(LEASE_FILE)
    check_driver(directory, lease.token)


def test_of_drivers_that_find_a_dead_one_together_one_takes_over(directory):
    """Its number belongs to another process by now."""
    dead = replace(Process.this(), started="1")
    assert dead.lives() is False
    directory.write(LEASE_FILE, replace(elsewhere(directory), process=dead).content())
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
        before = Driver.of(directory.read(LEASE_FILE)).beat
        deadline = time.monotonic() + 30
        while Driver.of(directory.read(LEASE_FILE)).beat == before:
            assert time.monotonic() < deadline
            time.sleep(BEAT)
        lease.check()
