"""MLflow servers that are down, die, hang and lose answers: in the end everything is logged, and once."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from support.tracked_runs import check_runs
from support.tracking_server import PASSWORD, Network, TrackingServer, free_port

from dbviz_ray.analysis.findings import find, write_findings
from dbviz_ray.analysis.tables import read_table, tables_of
from dbviz_ray.analysis.tracking import TrackingUnavailableError, is_tracked, track
from dbviz_ray.config.addresses import without_password
from dbviz_ray.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SEED = 20261128


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with TrackingServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def run(finished_run, tmp_path, request):
    """A copy of the finished run, under a name of its own."""
    store, sweep = finished_run
    shutil.copytree(store.root, tmp_path / "small")
    sweep = sweep.model_copy(update={"name": re.sub(r"\W", "-", request.node.name)})
    (tmp_path / "small" / "sweep.yaml").write_text(yaml.safe_dump(sweep.model_dump(mode="json")))
    return Store(tmp_path / "small"), sweep


@pytest.fixture
def network(server, monkeypatch):
    with Network(server.port) as network:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", network.uri)
        yield network


def at_a_random_request(network, happens, within):
    """Let something happen before or after one of the next requests is carried out."""
    generator = random.Random(SEED + len(network.requests))
    moment = len(network.requests) + generator.randrange(within)
    setattr(network, generator.choice(["before", "after"]), lambda number, _: number == moment and happens())


def is_logged(run):
    """Whether the server was there to the end; nothing else may go wrong."""
    try:
        track(*run)
    except TrackingUnavailableError:
        assert not is_tracked(run[0])
        return False
    assert is_tracked(run[0])
    return True


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
    network.after = lambda number, _: number % 2 == 0
    assert is_logged(run)
    assert sum(request.endswith("runs/create") for request in network.requests) == 34, "seventeen runs, each made twice"
    check_runs(*run, server.uri)


def test_a_server_that_hangs(run, network, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")  # not 10, as everybody has
    at_a_random_request(network, server.freeze, within=40)
    started = time.monotonic()
    assert not is_logged(run)
    assert time.monotonic() - started < 30
    server.thaw()  # and carries out what it was sent
    network.mend()
    assert is_logged(run)
    check_runs(*run, server.uri)


def test_a_command_does_not_fail_for_a_server_that_hangs(run, server, tmp_path, monkeypatch):
    store, sweep = run
    command = [sys.executable, "-m", "dbviz_ray.sweep", f"{store.root}/sweep.yaml", "--out", store.root]
    write_findings(store, find({name: read_table(store, name) for name in tables_of(sweep)}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    server.freeze()
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    server.thaw()
    assert result.returncode == 0, result.stderr
    assert f"MLflow cannot be reached ({server.uri}: " in result.stderr
    assert "the same command logs them later" in result.stderr
    assert is_logged(run)
    check_runs(*run, server.uri)


def test_a_server_that_is_down_costs_a_second(run, monkeypatch):
    down = [f"http://127.0.0.1:{free_port()}", f"postgresql+psycopg2://me:{PASSWORD}@127.0.0.1:{free_port()}/runs"]
    for uri in down:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        started = time.monotonic()
        with pytest.raises(TrackingUnavailableError, match=re.escape(without_password(uri))):
            track(*run)
        assert time.monotonic() - started < 15, "MLflow's own defaults would wait for minutes"
        assert not is_tracked(run[0])


def test_a_database_without_a_server(run, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.database_uri)
    assert is_logged(run)
    check_runs(*run, server.database_uri)


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI-secret-key",
    "MLFLOW_TRACKING_TOKEN": "tracking-token-0123",
    "RAY_AUTH_TOKEN": "ray-token-4567",
}


def everything_in(database_uri):
    """All rows of all tables of a database, as text."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(database_uri)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        rows = [str(row) for table in tables.tables.values() for row in connection.execute(table.select())]
    engine.dispose()
    return "\n".join(rows)


@pytest.mark.parametrize("way", ["server", "database"])
def test_no_secret_is_stored_or_printed(way, run, server, tmp_path):
    store, sweep = run
    direct = server.database.uri if server.database else f"sqlite:///{tmp_path}/direct.db?password={PASSWORD}"
    with_password = {"server": server.uri.replace("://", f"://me:{PASSWORD}@"), "database": direct}[way]
    environment = os.environ | SECRETS | {"MLFLOW_TRACKING_URI": with_password}
    command = [sys.executable, "-m", "dbviz_ray.sweep", f"{store.root}/sweep.yaml", "--out", store.root]
    told = ""
    for stages in (["--stages", "analyse,report"], []):
        result = subprocess.run(
            [*command, *stages], env=environment, capture_output=True, text=True, cwd=tmp_path, timeout=200
        )
        assert result.returncode == 0, result.stderr
        assert "cannot be reached" not in result.stderr
        told += result.stdout + result.stderr
    assert "nothing to do" in told
    assert without_password(with_password) in told
    database = everything_in(server.database_uri if way == "server" else with_password)
    assert sweep.name in database
    places = {"output": told.encode(), "database": database.encode()}
    places |= {str(path): path.read_bytes() for folder in (tmp_path, server.folder) for path in folder.rglob("*")
               if path.is_file()}  # fmt: skip
    assert any(path.endswith("groups.csv") and "artifacts" in path for path in places)
    for secret in (PASSWORD, *SECRETS.values()):
        assert [place for place, content in places.items() if secret.encode() in content] == []


def test_no_secret_is_printed_of_what_cannot_be_reached(run, monkeypatch, capfd):
    for uri in ("http://me:{}@127.0.0.1:{}", "postgresql+psycopg2://me:{}@127.0.0.1:{}/runs", "what://me:{}@{}"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.format(PASSWORD, free_port()))
        with pytest.raises(TrackingUnavailableError) as raised:
            track(*run)
        assert PASSWORD not in str(raised.value) + "".join(capfd.readouterr())
        assert PASSWORD.encode() not in run[0].read("tracking.json")
