"""What commands of the cluster files do where they run without a cloud: MLflow on the head, Ray's set-up on AWS."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from ray.autoscaler._private.util import prepare_config
from support.cluster_files import DOCUMENT, cluster, commands
from support.tracking_server import free_port


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, condition
        time.sleep(0.2)


@contextmanager
def head(home: Path, store: Path, port: int) -> Iterator[None]:
    """Runs the very commands that start MLflow on the head, but for the port, the pause between two copies of the
    database, and that they end with the block. A head's home is given; the bucket is a folder."""
    script = "\n".join(command for command in commands("cluster.yaml") if "mlflow" in command)
    for old, new in (("5000", str(port)), ("sleep 300", "sleep 1"), ("setsid nohup", "")):
        assert old in script
        script = script.replace(old, new)
    home.mkdir()
    settings = {"HOME": str(home), "STORE": store.as_uri(), "MLFLOW_DISABLE_TELEMETRY": "true"}
    settings |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    settings |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    group = subprocess.Popen(["bash", "-c", script], env=os.environ | settings, start_new_session=True)

    def answers() -> bool:
        with suppress(OSError):
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
        return False

    try:
        wait_for(answers)
        yield
    finally:
        os.killpg(group.pid, signal.SIGKILL)
        group.wait()


@pytest.mark.slow
def test_a_new_head_s_mlflow_begins_with_the_last_one_s_database(tmp_path):
    from mlflow import MlflowClient

    store, port = tmp_path / "bucket", free_port()
    (store / "mlflow").mkdir(parents=True)
    client = MlflowClient(f"http://127.0.0.1:{port}")

    def copied() -> bool:
        copy = store / "mlflow" / "mlflow.db"
        with suppress(sqlite3.Error):  # it is being written, or was copied before MLflow had begun it
            if copy.exists():
                return ("kept",) in sqlite3.connect(copy).execute("select name from experiments").fetchall()
        return False

    with head(tmp_path / "first", store, port):
        client.create_experiment("kept")
        wait_for(copied)
    with head(tmp_path / "second", store, port):
        run = client.create_run(client.get_experiment_by_name("kept").experiment_id)
        client.log_text(run.info.run_id, "text", "note.txt")
        assert list((store / "mlflow" / "artifacts").rglob("note.txt"))


def test_ray_takes_the_launch_template_s_group_and_opens_nothing(monkeypatch, tmp_path):
    """Ray's own set-up of an AWS cluster talks to a stand-in for EC2."""
    server = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    from botocore.exceptions import ClientError
    from ray.autoscaler._private.aws.config import bootstrap_aws

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    settings = {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up", "HOME": str(tmp_path)}
    settings["AWS_ENDPOINT_URL"] = "http://{}:{}".format(*running.get_host_and_port())
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "dbviz-ray.pem").write_text("made-up")
    prepared = prepare_config(cluster("cluster.yaml"))
    ec2 = boto3.client("ec2", region_name=prepared["provider"]["region"])
    with pytest.raises(ClientError, match="LaunchTemplate"):
        bootstrap_aws(prepared)
    group = ec2.create_security_group(GroupName="dbviz-ray", Description="ssh from one address")["GroupId"]
    data = re.search(r"--launch-template-data '(\{.*?\})'\n", DOCUMENT, flags=re.DOTALL)[1]
    data = json.loads(data.replace("'$IMAGE'", "ami-1").replace("'$GROUP'", group))
    ec2.create_launch_template(LaunchTemplateName="dbviz-ray", LaunchTemplateData=data)
    for node_type in bootstrap_aws(prepared)["available_node_types"].values():
        assert node_type["node_config"].items() >= data.items()
    for found in ec2.describe_security_groups()["SecurityGroups"]:
        assert "0.0.0.0/0" not in json.dumps(found["IpPermissions"])
    running.stop()
