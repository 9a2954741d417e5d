"""What a sweep on one machine listens on while it trains: the loopback interface alone."""

from __future__ import annotations

import ipaddress

import pytest
from ray.thirdparty_files import psutil
from support.whole_sweeps import started, wait_for

from dbviz_ray.cluster.session import running_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TRAINING = [
    "double_descent_digits", "dataset.train_size=300", "dataset.test_size=200", "grid.width=[4]",
    "grid.seed=[0,1]", "training.epochs=100000", "resources.checkpoint_seconds=0",
]  # fmt: skip


def test_what_is_started_here_listens_on_loopback_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    process = started(tmp_path / "run", *TRAINING)
    try:
        wait_for("cohorts/*/*", tmp_path / "run", process)
        command = psutil.Process(process.pid)
        sockets = [socket for one in (command, *command.children(recursive=True)) for socket in one.net_connections()]
        joinable = running_cluster()
    finally:
        process.terminate()
        process.wait(60)
    found = [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]
    assert len(found) >= 3, "Ray's control store, raylet and workers listen somewhere"
    for place in found:
        address = ipaddress.ip_address(place.ip)
        assert (getattr(address, "ipv4_mapped", None) or address).is_loopback, place
    own_ports = {str(place.port) for place in found}
    assert (joinable or ":").rpartition(":")[2] not in own_ports, "it ends with the command: no other may join it"
