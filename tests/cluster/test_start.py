"""Ray starts where it can; where it cannot, one line says so."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.whole_sweeps import PLANTED_KEY

from dbviz_ray.cluster.session import _private_folder

LINES = """
from dbviz_ray.cluster.session import ray_session
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.terminal import run_command

def start():
    with ray_session("local", ResourcesConfig(cpus_per_cohort=1), False):
        pass

raise SystemExit(run_command("start", start))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "codes", "told"),
    [
        ("TMPDIR", "{folder}/" + "long" * 25, {0}, ""),
        ("HOME", "/proc", {1}, "/proc/.ray"),
        # A fast machine needs no wait.
        ("RAY_gcs_server_port_wait_time_s", "0", {0, 1}, "RAY_gcs_server_port_wait_time_s"),
        ("RAY_GCS_SERVER_PORT", "{port}", {1}, "{port}"),
    ],
)
def test_ray_starts_or_one_line_tells_why_not(variable, value, codes, told, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        names = {"folder": tmp_path, "port": taken.getsockname()[1]}
        value, told = value.format(**names), told.format(**names)
        if "/" in value:
            os.makedirs(value, exist_ok=True)
        environment = {name: text for name, text in os.environ.items() if name != "RAY_AUTH_MODE"} | {variable: value}
        command = [sys.executable, "-W", "ignore", "-c", LINES]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    lines = [line for line in ended.stderr.splitlines() if line.startswith("start:")]
    assert ended.returncode in codes, ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(lines) == ended.returncode
    assert not lines or told in lines[0]


@pytest.mark.slow
def test_no_key_is_in_what_ray_writes_and_nobody_else_may_enter(undisturbed):
    sessions = Path(_private_folder())
    files = [path for folder in (sessions, undisturbed[0]) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if PLANTED_KEY.encode() in path.read_bytes()] == []
    assert sessions.parent.stat().st_mode & 0o777 == 0o700
