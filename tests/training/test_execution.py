"""All ways to run captured steps agree."""

import copy

import pytest
import torch
from support.cohorts import batch_of, copies_of, pixel_limits
from torch import nn

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.execution import Compiled, CudaGraph, Eager, execution_for
from dbviz_ray.training.gradients import IMAGES
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.optimizers import CohortOptimizer

SETTINGS = TrainingConfig(optimizer="sgd", learning_rate=0.05, momentum=0.9, sam_radius=0.05)
MEMBERS = 3
CPU = torch.device("cpu")


def trained(networks, execution, stack, sizes, device=CPU):
    """All tensors and logits of some steps over batches of these sizes."""
    networks = [copy.deepcopy(network).to(device) for network in networks]
    cohort = CohortNetwork(networks, SETTINGS, pixel_limits(), copies_of(networks), execution=execution)
    cohort.restack(stack)
    optimizer = CohortOptimizer(cohort.parameters, SETTINGS, [SETTINGS.learning_rate] * MEMBERS)
    kept = {}
    for step, size in enumerate(sizes):
        gradients, kept[f"logits {step}"] = cohort.backward(batch_of(cohort, size, seed=step))
        optimizer.step(gradients, 1.0)
    return {name: tensor.cpu() for name, tensor in (cohort.parameters | cohort.buffers | kept).items()}


def assert_agree(ours, theirs, **tolerance):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], **tolerance)


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


@needs_gpu
@pytest.mark.parametrize("stack", [MEMBERS, 2, 1])
@pytest.mark.parametrize("network", ["resnet18_width", "support.user_networks:convolutional"])
def test_steps_of_a_cuda_graph_equal_eager_ones(network, stack):
    networks = [initialised_network(network, 2, (1, 8, 8), 10, seed).double() for seed in range(MEMBERS)]
    device = torch.device("cuda")
    sizes = (8, 8, 5, 8)  # the last batch of an epoch is smaller, and then the first graph is run again
    graphs, eager = (trained(networks, execution, stack, sizes, device) for execution in (CudaGraph(), Eager()))
    assert_agree(graphs, eager, rtol=1e-6, atol=1e-8)


class MakesConstants(nn.Sequential):
    """Its forward pass makes a tensor, which capturing keeps as a constant."""

    def forward(self, x):
        return super().forward(x) * torch.linspace(0, 1, 10, dtype=x.dtype, device=x.device)


@needs_gpu
def test_a_cuda_graph_keeps_its_constants():
    torch.manual_seed(0)
    networks, device = [MakesConstants(nn.Flatten(), nn.Linear(64, 10)) for _ in range(MEMBERS)], torch.device("cuda")
    graphs = trained(networks, CudaGraph(), 1, [8, 5] * 20, device)
    assert_agree(graphs, trained(networks, Eager(), 1, [8, 5] * 20, device), rtol=1e-4, atol=1e-5)


def test_preparing_a_step_changes_no_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))
    members = [network, copy.deepcopy(network)]
    cohort = CohortNetwork(members, SETTINGS, pixel_limits(), copies_of(members), execution=RunsWhilePreparing())
    batch = batch_of(cohort, 8)
    cohort.backward(batch)
    assert cohort.buffers["2.num_batches_tracked"].tolist() == [1, 1]
    hidden = network[1](batch[IMAGES][0].flatten(1))
    torch.testing.assert_close(cohort.buffers["2.running_mean"][0], 0.1 * hidden.mean(0).detach())


class RunsWhilePreparing(Eager):
    """As CUDA graphs do, to warm up."""

    def prepared(self, parts, batch):
        for part in parts * 3:
            part(batch)
        return super().prepared(parts, batch)


EXECUTIONS = (
    ("auto", "cpu", Eager),
    ("auto", "cuda", CudaGraph),
    ("eager", "cuda", Eager),
    ("compiled", "cpu", Compiled),
)


@pytest.mark.parametrize(("name", "device", "kind"), EXECUTIONS)
def test_the_execution_of_a_device(name, device, kind):
    assert type(execution_for(name, torch.device(device))) is kind
