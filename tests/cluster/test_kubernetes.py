"""What can be known of the Kubernetes manifests and of the image without Kubernetes and Docker."""

import json
import re
import shlex
import sys

import pytest
import requests
import yaml
from jsonschema import Draft202012Validator
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from support.documents import ROOT
from support.tracking_server import TrackingServer

from dbviz_ray import sweep
from dbviz_ray.config.sweep_files import load_sweep

FOLDER = ROOT / "docs" / "cluster"
TEXTS = {name: (FOLDER / "kubernetes" / f"{name}.yaml").read_text() for name in ("rayjob", "raycluster", "mlflow")}
FACTS = json.loads((ROOT / "tests" / "support" / "kubernetes_facts.json").read_text())
JOB, CLUSTER = (yaml.safe_load(TEXTS[name])["spec"] for name in ("rayjob", "raycluster"))
_, DEPLOYMENT, SERVICE, _ = yaml.safe_load_all(TEXTS["mlflow"])
GROUPS = [CLUSTER["headGroupSpec"], *CLUSTER["workerGroupSpecs"], DEPLOYMENT["spec"]]
PODS = [group["template"]["spec"] for group in GROUPS]
REQUEST = sweep.parser().parse_args(shlex.split(JOB["entrypoint"])[3:])
RESOURCES = load_sweep(*sweep.sweep_and_overrides(REQUEST.sweep)).resources


def mistakes(text: str) -> list[str]:
    """What KubeRay or Kubernetes does not know, or does not take."""
    objects = [(made, FACTS | FACTS["properties"][made["kind"]]) for made in yaml.safe_load_all(text)]
    return [str(error) for made, schema in objects for error in Draft202012Validator(schema).iter_errors(made)]


def launches(demand: int, refused: str = "") -> dict[str, int]:
    """The pods that Ray's autoscaler starts for so many waiting cohorts."""
    custom = {"metadata": {"name": "dbviz-ray", "namespace": "default"}, "spec": CLUSTER}
    types = AutoscalingConfig(_derive_autoscaling_config_from_ray_cr(custom)).get_node_type_configs()
    waiting = [ResourceRequestUtil.make({"CPU": RESOURCES.cpus_per_cohort, "GPU": RESOURCES.gpus_per_cohort})] * demand
    asked = ResourceRequestUtil.group_by_count(waiting)
    request = SchedulingRequest(True, types, resource_requests=asked, recoverable_resource_availabilities={refused: 0})
    return {launch.instance_type: launch.count for launch in ResourceDemandScheduler().schedule(request).to_launch}


@pytest.mark.parametrize("name", TEXTS)
def test_every_field_is_known_and_a_misspelt_one_would_be_found(name):
    for text in (TEXTS[name], re.sub(r"# (labels|annotations):", r"\1:", TEXTS[name])):
        assert mistakes(text) == []
    for field in ("maxReplicas", "submissionMode", "secretName", "emptyDir", "claimName", "podSelector"):
        assert bool(mistakes(TEXTS[name].replace(f"{field}:", f"{field}s:"))) == (f"{field}:" in TEXTS[name])
    assert mistakes(re.sub(r"([rR]eplicas): \d", r"\1: many", TEXTS[name]))


def test_sweep_cluster_and_image_belong_together_and_secrets_stand_elsewhere():
    assert JOB["rayClusterSpec"] == CLUSTER
    environment = {entry["name"]: entry["value"] for entry in PODS[0]["containers"][0]["env"]}
    assert REQUEST.out.startswith(f"{environment['STORE']}/runs/")
    assert environment["MLFLOW_TRACKING_URI"] == f"http://{SERVICE['metadata']['name']}:5000"
    assert not re.search(r"kind: Secret|stringData|(TOKEN|KEY|PASSWORD)\w*, value", "".join(TEXTS.values()))
    made = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    images = {container["image"] for pod in PODS for container in pod["containers"] + pod.get("initContainers", [])}
    assert images == {re.search(r"-t (\S+) \.\n", made)[1]}
    assert {pod["securityContext"]["runAsUser"] for pod in PODS} == {int(re.search(r"USER (\d+)", made)[1])}
    base = re.search(r"image: (rayproject/ray:([\d.]+)\S+)", (ROOT / "cluster.yaml").read_text())
    assert (f"FROM {base[1]}\n" in made, CLUSTER["rayVersion"]) == (True, base[2])
    copied = " ".join(re.findall(r"^COPY --\S+ (.*) \S+$", made, flags=re.MULTILINE)).split()
    assert (len(copied), all((ROOT / file).exists() for file in copied)) == (5, True)
    assert re.search(r'pip install .*-c /home/ray/dbviz_ray/constraints.txt -e "/home/ray/dbviz_ray\[cluster\]"', made)


def test_spot_pods_come_first_and_on_demand_pods_beside_them_or_after_a_refusal():
    assert (launches(3), launches(50)) == ({"gpu-spot": 3}, {"gpu-spot": 8, "gpu-on-demand": 2})
    assert launches(2, refused="gpu-spot") == {"gpu-on-demand": 2}


@pytest.mark.slow
def test_mlflow_s_command_answers_to_the_service_s_name_and_to_no_foreign_one(tmp_path):
    server, [made] = TrackingServer(tmp_path), PODS[-1]["containers"]
    server.database, command = None, " ".join(made["command"] + made["args"])
    for old, new in (("0.0.0.0", "127.0.0.1"), ("--port 5000", f"--port {server.port}"), ("/data", str(tmp_path))):
        command = command.replace(old, new)
    server.command = [sys.executable, "-m", *command.replace("s3://my-bucket", str(tmp_path)).split()]
    with server:
        for host, status in (("dbviz-mlflow:5000", 200), ("127.0.0.1:5000", 200), ("elsewhere:5000", 403)):
            uri = f"{server.uri}/api/2.0/mlflow/experiments/search?max_results=1"
            assert requests.get(uri, headers={"Host": host}, timeout=60).status_code == status
