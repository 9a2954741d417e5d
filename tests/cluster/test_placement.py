import math

import pytest
import ray
from conftest import small_sweep

from dbviz_ray.cluster.nodes import room_for
from dbviz_ray.cluster.session import Session
from dbviz_ray.cluster.training import GIB, least_memory, room_of_cohort
from dbviz_ray.config import ResourcesConfig
from dbviz_ray.datasets import facts_of_dataset
from dbviz_ray.planning.memory import memory_need

CLUSTER = Session(joined=True)
DATA = facts_of_dataset(small_sweep().dataset, "unused")


def cohort_of(architecture, width):
    sweep = small_sweep(grid={"architecture": [architecture], "width": [width], "seed": list(range(8))})
    return sweep.cohorts()[0]


def test_a_cohort_asks_for_cores_and_for_memory_in_few_sizes():
    resources = ResourcesConfig(cpus_per_cohort=3)
    for width in (2, 512):
        room = room_of_cohort(cohort_of("fully_connected", width), DATA, resources, CLUSTER)
        assert room == {"CPU": 3, "memory": 1.5 * GIB}
    cohort = cohort_of("resnet18_width", 64)
    need = memory_need(cohort.models, DATA, resources).host
    assert room_of_cohort(cohort, DATA, resources, CLUSTER)["memory"] == math.ceil(need / GIB) * GIB > 2 * GIB


def test_cohorts_on_one_machine_ask_for_its_cores_share_where_all_fit_into_it(monkeypatch):
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 5.0, "memory": 9.0 * GIB})
    resources, machine = ResourcesConfig(cpus_per_cohort=2), Session(joined=False)
    small, middle, large = (cohort_of("fully_connected", width) for width in (2, 20_000, 100_000))
    assert 1.5 * GIB < memory_need(middle.models, DATA, resources).host < 4.5 * GIB
    asked = [least_memory(some, DATA, resources, machine) for some in ([small, middle], [small, middle, large])]
    assert asked == [4.5 * GIB, 1.5 * GIB]
    assert room_of_cohort(small, DATA, resources, machine, least=4.5 * GIB)["memory"] == 4.5 * GIB
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 5.0, "memory": 1.0 * GIB})
    assert room_of_cohort(small, DATA, resources, machine)["memory"] == 1.0 * GIB, "no more than the machine has"


@pytest.mark.parametrize(("gpu_memory", "share"), [(None, 0.25), (80, 0.25), (0.001, 1.0)])
def test_cohorts_that_fit_share_a_gpu(gpu_memory, share):
    resources = ResourcesConfig(gpus_per_cohort=0.25, gpu_memory=gpu_memory)
    assert room_of_cohort(cohort_of("fully_connected", 16), DATA, resources, CLUSTER)["GPU"] == share


def test_how_many_evaluators_fit_on_a_machine():
    machines = [{"CPU": 16, "GPU": 2}, {"CPU": 5, "GPU": 2}, {"CPU": 16}]
    assert [room_for({"CPU": 2, "GPU": 0.5}, machine) for machine in machines] == [4, 2, 0]
    assert room_for({"CPU": 1, "GPU": 0}, {"CPU": 3}) == 3
