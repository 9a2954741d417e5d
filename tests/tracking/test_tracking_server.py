"""MLflow servers that are down, die, hang and lose answers: in the end everything is logged, and once."""

import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from support.tracked_runs import check_runs
from support.tracking_server import PASSWORD, Network, TrackingServer, everything_in, free_port

from dbviz_ray.analysis.findings import find, write_findings
from dbviz_ray.analysis.tables import read_table, tables_of
from dbviz_ray.analysis.tracking import TrackingUnavailableError, is_tracked, track
from dbviz_ray.config.addresses import without_password

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with TrackingServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def run(copied_run, request):
    """A run under a name of its own."""
    store, sweep = copied_run
    sweep = sweep.model_copy(update={"name": re.sub(r"\W", "-", request.node.name)})
    store.write("sweep.yaml", yaml.safe_dump(sweep.model_dump(mode="json")).encode())
    return store, sweep


@pytest.fixture
def network(server, monkeypatch):
    with Network(server.port) as network:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", network.uri)
        yield network


def at_a_random_request(network, happens, within):
    """Let something happen before or after one of the next requests is carried out."""
    generator = random.Random(20261128 + len(network.requests))
    moment = len(network.requests) + generator.randrange(within)
    setattr(network, generator.choice(["before", "after"]), lambda number: number == moment and happens())


def same_command(run, *options):
    """What the command that made a run says if it is given again."""
    store, _ = run
    command = [sys.executable, "-m", "dbviz_ray.sweep", f"{store.root}/sweep.yaml", "--out", store.root, *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=Path(store.root).parent, timeout=200)
    assert result.returncode == 0, result.stderr
    return result


def is_logged(run):
    """Whether the server was there to the end; nothing else may go wrong."""
    try:
        track(*run)
    except TrackingUnavailableError:
        assert not is_tracked(run[0])
        return False
    assert is_tracked(run[0])
    return True


@pytest.mark.nightly
@pytest.mark.parametrize(("part", "times"), [("server", 3), ("database", 3), ("network", 8)])
def test_what_ends_at_random_moments(part, times, run, network, server):
    if part == "database" and server.database is None:
        pytest.skip("PostgreSQL is not installed")
    whole = {"server": server, "database": server.database, "network": network}[part]
    end, begin = (network.cut, network.mend) if part == "network" else (whole.kill, whole.start)
    for again in range(times):
        at_a_random_request(network, end, within=30)  # of some 90, or of what is left of them
        if is_logged(run):
            assert again, "the first thirty requests are a third"
            break
        begin()
    network.mend()
    assert is_logged(run)
    check_runs(*run, server.uri)


def test_every_answer_is_lost_once(run, network, server):
    """So that every request is sent, and carried out, twice."""
    network.after = lambda number: number % 2 == 0
    assert is_logged(run)
    assert sum(request.endswith("runs/create") for request in network.requests) == 34, "seventeen runs, each made twice"
    check_runs(*run, server.uri)


def test_a_server_that_hangs(run, network, server, monkeypatch):
    at_a_random_request(network, server.freeze, within=40)
    started = time.monotonic()
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # not 10, as everybody has
        assert not is_logged(run)
    assert time.monotonic() - started < 30
    server.thaw()  # and carries out what it was sent
    network.mend()
    assert is_logged(run)
    check_runs(*run, server.uri)


def test_a_command_does_not_fail_for_a_server_that_hangs(run, server, monkeypatch):
    store, sweep = run
    write_findings(store, find({name: read_table(store, name) for name in tables_of(sweep)}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    server.freeze()
    try:
        result = same_command(run)
    finally:
        server.thaw()
    assert f"MLflow cannot be reached ({server.uri}: " in result.stderr
    assert is_logged(run)
    check_runs(*run, server.uri)


@pytest.mark.parametrize(
    "uri", ["http://me:{}@127.0.0.1:{}", "postgresql+psycopg2://me:{}@127.0.0.1:{}/runs", "what://me:{}@{}"]
)
def test_what_cannot_be_reached_costs_a_second_and_no_secret(uri, run, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(PASSWORD, free_port()))
    started = time.monotonic()
    with pytest.raises(TrackingUnavailableError) as raised:
        track(*run)
    assert time.monotonic() - started < 15, "MLflow's own defaults would wait for minutes"
    assert not is_tracked(run[0])
    assert without_password(os.environ["MLFLOW_TRACKING_URI"]) in str(raised.value)
    assert PASSWORD not in str(raised.value) + "".join(capfd.readouterr())
    assert PASSWORD.encode() not in run[0].read("tracking.json")


SECRETS = {name: f"the-{name}" for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "RAY_AUTH_TOKEN")}


@pytest.mark.parametrize("way", ["server", "database"])
def test_no_secret_is_stored_or_printed(way, run, server, here, monkeypatch):
    direct = server.database.uri if server.database else f"sqlite:///{here}/direct.db?password={PASSWORD}"
    with_password = {"server": server.uri.replace("://", f"://me:{PASSWORD}@"), "database": direct}[way]
    for name, value in (SECRETS | {"MLFLOW_TRACKING_URI": with_password}).items():
        monkeypatch.setenv(name, value)
    results = [same_command(run, "--stages", "analyse,report"), same_command(run)]
    told = "".join(result.stdout + result.stderr for result in results)
    assert "cannot be reached" not in told
    assert "nothing to do" in told
    assert without_password(with_password) in told
    database = everything_in(server.database_uri if way == "server" else with_password)
    check_runs(*run, with_password)
    places = {"output": told.encode(), "database": database.encode()}
    places |= {str(path): path.read_bytes() for folder in (here, server.folder) for path in folder.rglob("*")
               if path.is_file()}  # fmt: skip
    assert any(path.endswith("groups.csv") and "artifacts" in path for path in places)
    for secret in (PASSWORD, *SECRETS.values()):
        assert [place for place, content in places.items() if secret.encode() in content] == []
