"""What a sweep on one machine listens on while it trains: the loopback interface alone."""

from __future__ import annotations

import ipaddress
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dbviz_ray.cluster.session import running_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

LISTENING = "0A"
TRAINING = [
    "double_descent_digits", "dataset.train_size=300", "dataset.test_size=200", "grid.width=[4]",
    "grid.seed=[0,1]", "training.epochs=100000", "resources.checkpoint_seconds=0",
]  # fmt: skip


def processes_of(root: int) -> set[int]:
    """A process and all that come from it, also those that have left its group."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {root}
    while more := {process for process, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def sockets_of(processes: set[int]) -> set[str]:
    """Inodes of their open sockets."""
    found = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").glob("*"):
            try:
                found.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
            except OSError:
                continue
    return found


def listening(root: int) -> set[tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]]:
    """Addresses and ports on which a process and its descendants take TCP connections."""
    own = sockets_of(processes_of(root))
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == LISTENING and inode in own:
                address, _, port = local.partition(":")
                words = [bytes.fromhex(address[at : at + 8])[::-1] for at in range(0, len(address), 8)]
                place = ipaddress.ip_address(b"".join(words))
                found.add((getattr(place, "ipv4_mapped", None) or place, int(port, 16)))
    return found


def elsewhere(places):
    return [(str(address), port) for address, port in places if not address.is_loopback]


def test_what_is_started_here_listens_on_loopback_alone(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dbviz_ray.sweep", *TRAINING, "--out", str(tmp_path / "run"), "--address", "local"],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not list(tmp_path.glob("run/cohorts/*/*")):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        found = listening(process.pid)
        joinable = running_cluster()
    finally:
        process.terminate()
        process.wait(60)
    assert len(found) >= 3, "Ray's control store, raylet and workers listen somewhere"
    assert elsewhere(found) == []
    own_ports = {str(port) for _, port in found}
    assert (joinable or ":").rpartition(":")[2] not in own_ports, "it ends with the command: no other may join it"


LISTENS = """
import socket
places = [("0.0.0.0", socket.AF_INET), ("::1", socket.AF_INET6), ("127.0.0.1", socket.AF_INET)]
listeners = [socket.create_server((address, 0), family=family) for address, family in places]
print(flush=True)
input()
"""


def test_a_listener_on_all_interfaces_is_found():
    starts = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    process = subprocess.Popen(
        [sys.executable, "-c", starts, LISTENS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline()
    found = listening(process.pid)
    process.communicate("\n")
    assert sorted(str(address) for address, _ in found) == ["0.0.0.0", "127.0.0.1", "::1"]
    assert [address for address, _ in elsewhere(found)] == ["0.0.0.0"]
