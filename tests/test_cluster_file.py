from __future__ import annotations

from pathlib import Path

import pytest
import yaml

CLUSTER = Path(__file__).resolve().parent.parent / "cluster.yaml"


@pytest.fixture
def cluster():
    return yaml.safe_load(CLUSTER.read_text())


def test_ray_accepts_the_cluster_file(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(cluster))


def test_ray_would_refuse_an_unknown_key(cluster):
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(Exception, match="surprise"):
        validate_config(prepare_config(cluster | {"surprise": 1}))


def test_versions_are_those_of_the_constraints(cluster):
    constraints = (CLUSTER.parent / "constraints.txt").read_text().splitlines()
    ray_version = next(line.partition("==")[2] for line in constraints if line.startswith("ray=="))
    assert f":{ray_version}-py311" in cluster["docker"]["image"]


def test_nothing_listens_to_the_world(cluster):
    commands = " ".join(cluster["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in commands
    ranges = [r["CidrIp"] for p in cluster["provider"]["security_group"]["IpPermissions"] for r in p["IpRanges"]]
    assert "0.0.0.0/0" not in ranges


def test_no_trial_runs_on_the_head(cluster):
    assert cluster["available_node_types"][cluster["head_node_type"]]["resources"] == {"CPU": 0}
