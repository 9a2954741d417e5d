"""What can be known of the cluster files and of their pages without a cloud, and what their commands do here."""

import itertools
import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.command_runner import _with_interactive
from ray.autoscaler._private.loader import load_function_or_class
from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException
from support.documents import ROOT
from support.ray_up_local import wait_for
from support.tracking_server import free_port

CLOUDS = ("cluster.yaml", "docs/cluster/gcp.yaml")
FILES = (*CLOUDS, "docs/cluster/local.yaml")
DOCUMENT = (ROOT / "docs" / "cluster_accounts.md").read_text()
TOKEN = "~/.ray/auth_token"


def text_of(file: str) -> str:
    return (ROOT / file).read_text()


def cluster(file: str) -> dict:
    return yaml.safe_load(text_of(file))


def commands(file: str) -> list[str]:
    lists = [value for key, value in cluster(file).items() if key.endswith("_commands")]
    return list(itertools.chain.from_iterable(lists))


def environment(file: str) -> str:
    """Where the file sets the environment of everything that runs on a node."""
    if file in CLOUDS:
        return " ".join(cluster(file)["docker"]["run_options"])
    return " ".join(cluster(file)["setup_commands"])


@pytest.mark.parametrize("file", FILES)
def test_ray_accepts_the_file_and_nodes_install_the_project_within_the_constraints(file):
    validate_config(prepare_config(cluster(file)))
    [installing] = [command for command in commands(file) if "pip install" in command]
    assert "constraints.txt" in installing
    assert "[cluster]" in installing
    if file in CLOUDS:
        pinned = re.search(r"^ray==(.*)$", text_of("constraints.txt"), flags=re.MULTILINE)
        python = re.search(r"Python 3\.(\d+)", text_of("constraints.txt"))
        assert cluster(file)["docker"]["image"] == f"rayproject/ray:{pinned[1]}-py3{python[1]}-gpu"


@pytest.mark.parametrize("file", FILES)
def test_nothing_listens_to_the_world_ray_asks_for_a_token_and_telemetry_is_off(file):
    assert not re.search(r"0\.0\.0\.0|::/0", text_of(file))
    starts = [command for command in commands(file) if "ray start" in command]
    [head] = [command for command in starts if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in head
    assert "RAY_AUTH_MODE=token" in environment(file)
    assert cluster(file)["file_mounts"][TOKEN] == TOKEN
    for command in commands(file):
        if "mlflow server" in command:
            assert "--host 127.0.0.1" in command
    assert "RAY_USAGE_STATS_ENABLED=0" in environment(file)
    # `ray up` exports its own setting before the head's command.
    silent = [re.search(r"RAY_USAGE_STATS_ENABLED=0 (setsid nohup )?ray start", start) for start in starts]
    assert (len(silent), all(silent)) == (2, True)
    for setting in ("MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"):
        assert file not in CLOUDS or setting in environment(file)


@pytest.mark.parametrize("file", CLOUDS)
def test_gpu_workers_come_and_go_no_trial_runs_on_the_head_and_the_network_is_their_own(file):
    """Whether the network is so on AWS, Ray's own set-up is asked below."""
    types = cluster(file)["available_node_types"]
    assert types[cluster(file)["head_node_type"]]["resources"] == {"CPU": 0}
    workers = {name: types[name] for name in ("gpu_spot", "gpu_on_demand")}
    assert types.keys() == {"head", *workers}
    assert [worker["min_workers"] for worker in workers.values()] == [0, 0]
    assert cluster(file)["idle_timeout_minutes"] > 0
    configs = [dict(worker["node_config"]) for worker in workers.values()]
    spot = configs[0].pop("InstanceMarketOptions", None) or configs[0].pop("scheduling")
    assert "spot" in json.dumps(spot).lower()
    assert "spot" not in json.dumps(configs[1]).lower()
    configs[1].pop("scheduling", None)
    assert configs[0] == configs[1]
    for node_type in types.values() if file == "docs/cluster/gcp.yaml" else ():
        assert [i["network"] for i in node_type["node_config"]["networkInterfaces"]] == ["global/networks/dbviz-ray"]


def launches(file: str, demand: int, tracker: NodeProviderAvailabilityTracker, scorer) -> dict[str, int]:
    """What Ray launches of each type for so many cohorts that wait for a GPU."""
    prepared = prepare_config(cluster(file))
    nodes, _ = get_nodes_for(
        prepared["available_node_types"], {"head": 1}, "head", prepared["max_workers"], [{"CPU": 2, "GPU": 1}] * demand,
        utilization_scorer=partial(scorer, node_availability_summary=tracker.summary()),
    )  # fmt: skip
    return nodes


@pytest.mark.parametrize("file", CLOUDS)
def test_ray_launches_spot_first_and_on_demand_beside_it(file):
    for demand, launched in ((3, {"gpu_spot": 3}), (8, {"gpu_spot": 8}), (50, {"gpu_spot": 8, "gpu_on_demand": 2})):
        assert launches(file, demand, NodeProviderAvailabilityTracker(), _default_utilization_scorer) == launched


def test_a_refused_spot_launch_brings_on_demand_nodes():
    scorer = load_function_or_class(re.search(r"UTILIZATION_SCORER=(\S+)", environment("cluster.yaml"))[1])
    tracker = NodeProviderAvailabilityTracker()
    refused = NodeLaunchException("InsufficientInstanceCapacity", "none left", None)
    for error, launched in ((None, "gpu_spot"), (refused, "gpu_on_demand"), (None, "gpu_spot")):
        tracker.update_node_availability("gpu_spot", int(time.time()), error)
        assert launches("cluster.yaml", 2, tracker, scorer) == {launched: 2}


@pytest.mark.parametrize("file", FILES)
def test_shell_commands_parse(file):
    """As they stand, and as Ray wraps what it runs on a node."""
    for command in commands(file):
        [wrapped] = shlex.split(_with_interactive(command)[-1])
        for text in (command, wrapped):
            subprocess.run(["bash", "-n"], input=text, text=True, check=True, capture_output=True)


def test_the_instance_profile_is_narrow():
    policy = json.loads(re.search(r"cat > policy\.json <<EOF\n(.*?)\nEOF", DOCUMENT, flags=re.DOTALL)[1])
    allowed = {}
    for statement in policy["Statement"]:
        assert statement["Effect"] == "Allow"
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for action in actions:
            allowed.setdefault(action, []).append(statement)
    assert not [action for action in allowed if "*" in action]
    assert {action.partition(":")[0] for action in allowed} == {"ec2", "iam", "s3"}
    assert [s["Resource"] for s in allowed["iam:PassRole"]] == ["arn:aws:iam::*:role/dbviz-ray"]
    for action, statements in allowed.items():
        for statement in statements:
            if action.startswith("s3:"):
                assert statement["Resource"].startswith("arn:aws:s3:::$BUCKET")
            if re.search("Start|Stop|Terminate", action):
                assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/ray-cluster-name": "dbviz"}}
            if statement.get("Resource") == "*":
                assert action.startswith("ec2:Describe")


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
        wait_for(answers, 60)
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
        wait_for(copied, 60)
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
