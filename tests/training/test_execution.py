"""All ways to run captured steps agree."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import TrainingConfig
from dbviz_ray.training.execution import Compiled, CudaGraph, Eager, execution_for
from dbviz_ray.training.gradients import IMAGES, LABELS, PixelLimits
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.optimizers import CohortOptimizer

SETTINGS = TrainingConfig(optimizer="sgd", learning_rate=0.05, momentum=0.9, sam_radius=0.05)
MEMBERS = 3
CPU = torch.device("cpu")


def trained(networks, execution, stack, sizes, device=CPU):
    """All tensors and logits of some steps over batches of these sizes."""
    dtype = next(networks[0].parameters()).dtype
    limits = PixelLimits(*(torch.tensor(value, dtype=dtype, device=device) for value in (0.0, 1.0, 0.1)))
    cohort = CohortNetwork([copy.deepcopy(n).to(device) for n in networks], SETTINGS, limits, execution=execution)
    cohort.restack(stack)
    optimizer = CohortOptimizer(cohort.parameters, SETTINGS, [SETTINGS.learning_rate] * MEMBERS)
    generator = torch.Generator().manual_seed(0)
    kept = []
    for size in sizes:
        images = torch.rand(MEMBERS, size, 1, 8, 8, dtype=dtype, generator=generator)
        batch = {IMAGES: images, LABELS: torch.randint(10, (MEMBERS, size), generator=generator)}
        for name, (p, shape) in cohort.mask_shapes(images[0].to(device)).items():
            mask = torch.empty(MEMBERS, *shape, dtype=dtype).bernoulli_(1 - p, generator=generator)
            batch[name] = mask / (1 - p)
        gradients, logits = cohort.backward({name: tensor.to(device) for name, tensor in batch.items()})
        optimizer.step(gradients, 1.0)
        kept.append(logits)
    tensors = {f"logits {step}": logits for step, logits in enumerate(kept)}
    return {name: t.cpu() for name, t in (cohort.parameters | cohort.buffers | tensors).items()}


def assert_agree(ours, theirs, **tolerance):
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], **tolerance)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("stack", [MEMBERS, 2, 1])
@pytest.mark.parametrize("network", ["resnet18_width", "support.user_networks:convolutional"])
def test_steps_of_a_cuda_graph_equal_eager_ones(network, stack):
    networks = [initialised_network(network, 2, (1, 8, 8), 10, seed).double() for seed in range(MEMBERS)]
    device = torch.device("cuda")
    sizes = (8, 8, 5, 8)  # the last batch of an epoch is smaller, and then the first graph is run again
    graphs, eager = (trained(networks, execution, stack, sizes, device) for execution in (CudaGraph(), Eager()))
    assert_agree(graphs, eager, rtol=1e-6, atol=1e-8)


class MakesConstants(nn.Module):
    """Its forward pass makes a tensor, which capturing keeps as a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(x.flatten(1)) * torch.linspace(0, 1, 10, dtype=x.dtype, device=x.device)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_a_cuda_graph_keeps_its_constants():
    torch.manual_seed(0)
    networks, device = [MakesConstants() for _ in range(MEMBERS)], torch.device("cuda")
    graphs = trained(networks, CudaGraph(), 1, [8, 5] * 20, device)
    assert_agree(graphs, trained(networks, Eager(), 1, [8, 5] * 20, device), rtol=1e-4, atol=1e-5)


def test_preparing_a_step_changes_no_statistics():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.BatchNorm1d(4), nn.Linear(4, 10))
    limits = PixelLimits(*(torch.tensor(value) for value in (0.0, 1.0, 0.1)))
    cohort = CohortNetwork([network, copy.deepcopy(network)], SETTINGS, limits, execution=RunsWhilePreparing())
    batch = {IMAGES: torch.rand(2, 8, 1, 8, 8), LABELS: torch.randint(10, (2, 8))}
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


@pytest.mark.parametrize(
    ("name", "device", "kind"),
    [
        ("auto", "cpu", Eager),
        ("auto", "cuda", CudaGraph),
        ("eager", "cuda", Eager),
        ("compiled", "cpu", Compiled),
        ("cuda_graph", "cuda", CudaGraph),
    ],
)
def test_the_execution_of_a_device(name, device, kind):
    assert type(execution_for(name, torch.device(device))) is kind
