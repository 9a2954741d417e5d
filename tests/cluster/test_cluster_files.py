"""What can be known of the cluster files and of docs/cluster.md without a cloud."""

import json
import re
import shlex
import subprocess
import time
from functools import partial

import pytest
from ray.autoscaler._private.command_runner import _with_interactive
from ray.autoscaler._private.loader import load_function_or_class
from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer, get_nodes_for
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException
from support.cluster_files import CLOUDS, DOCUMENT, FILES, TOKEN, cluster, commands, environment, ray_starts, text_of


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
    [head] = [command for command in ray_starts(file) if "--head" in command]
    assert "--dashboard-host=127.0.0.1" in head
    assert "RAY_AUTH_MODE=token" in environment(file)
    assert cluster(file)["file_mounts"][TOKEN] == TOKEN
    for command in commands(file):
        if "mlflow server" in command:
            assert "--host 127.0.0.1" in command
    assert "RAY_USAGE_STATS_ENABLED=0" in environment(file)
    # `ray up` exports its own setting before the head's command.
    starts = [re.search(r"RAY_USAGE_STATS_ENABLED=0 (setsid nohup )?ray start", start) for start in ray_starts(file)]
    assert (len(starts), all(starts)) == (2, True)
    for setting in ("MLFLOW_DISABLE_TELEMETRY=true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"):
        assert file not in CLOUDS or setting in environment(file)


def test_machines_are_in_a_network_of_their_own():
    """On AWS tests/cluster/test_cluster_commands.py asks Ray's own set-up."""
    for node_type in cluster("docs/cluster/gcp.yaml")["available_node_types"].values():
        assert [i["network"] for i in node_type["node_config"]["networkInterfaces"]] == ["global/networks/dbviz-ray"]


@pytest.mark.parametrize("file", CLOUDS)
def test_gpu_workers_come_and_go_and_no_trial_runs_on_the_head(file):
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
