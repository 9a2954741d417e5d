"""Ray starts where it can; where it cannot, one line says so."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

LINES = """
from dbviz_ray.cluster.session import ray_session
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.errors import StageFailedError
from dbviz_ray.store.models import StoppedError
from dbviz_ray.terminal.commands import run_command

def start():
    try:
        with ray_session("local", ResourcesConfig(cpus_per_cohort=1), False):
            pass
    except StoppedError as error:
        raise StageFailedError(str(error)) from None

raise SystemExit(run_command("start", start))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variable", "value", "code", "told"),
    [
        ("TMPDIR", "{folder}/" + "long" * 25, 0, ""),
        ("HOME", "/proc", 1, "/proc/.ray"),
    ],
)
def test_ray_starts_or_one_line_tells_why_not(variable, value, code, told, tmp_path):
    folder = value.format(folder=tmp_path)
    os.makedirs(folder, exist_ok=True)
    environment = {name: text for name, text in os.environ.items() if name != "RAY_AUTH_MODE"} | {variable: folder}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LINES], env=environment, capture_output=True, text=True, timeout=120
    )
    lines = [line for line in ended.stderr.splitlines() if line.startswith("start:")]
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(lines) == bool(code)
    assert told in "".join(lines)
