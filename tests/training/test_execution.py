"""All ways to run captured steps agree."""

import copy
import itertools

import pytest
import torch
from support.cohorts import batch_of, cohort_of, copies_of, pixel_limits, with_rates
from support.counts import counted_step
from support.documents import ROOT
from torch import nn
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ResourcesConfig, TrainingConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.datasets.augmentation import AugmentedImages
from dbviz_ray.training.cohort import CohortTraining
from dbviz_ray.training.execution import CudaGraph, Eager, execution_for
from dbviz_ray.training.gradients import IMAGES, LABELS
from dbviz_ray.training.layers import block_diagonal, diagonal_blocks, with_fast_loops
from dbviz_ray.training.network import CohortNetwork
from dbviz_ray.training.optimizers import CohortOptimizer
from dbviz_ray.training.states import lay_out_channels_last

SETTINGS = TrainingConfig(optimizer="sgd", learning_rate=0.05, momentum=0.9, sam_radius=0.05)
MEMBERS = 3
CPU = torch.device("cpu")


def trained(networks, execution, stack, sizes, device=CPU, prepare=lambda cohort: None, settings=SETTINGS):
    """All tensors and logits of some steps over batches of these sizes."""
    networks = [copy.deepcopy(network).to(device) for network in networks]
    cohort = CohortNetwork(networks, settings, pixel_limits(), copies_of(networks), execution=execution)
    cohort.restack(stack)
    prepare(cohort)
    optimizer = CohortOptimizer(cohort.parameters, settings, [settings.learning_rate] * MEMBERS)
    kept = {}
    for step, size in enumerate(sizes):
        gradients, kept[f"logits {step}"] = cohort.backward(batch_of(cohort, size, seed=step))
        optimizer.step(gradients, 1 - step / 10)
    return {name: tensor.cpu() for name, tensor in (cohort.parameters | cohort.buffers | kept).items()}


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")


@needs_gpu
@pytest.mark.parametrize("stack", [MEMBERS, 2, 1])
@pytest.mark.parametrize("compiles", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("network", ["resnet18_width", "support.user_networks:convolutional"])
def test_steps_of_a_cuda_graph_equal_eager_ones(network, optimizer, compiles, stack):
    networks = [initialised_network(network, 2, (1, 8, 8), 10, seed).double() for seed in range(MEMBERS)]
    device = torch.device("cuda")
    sizes = (8, 8, 5, 8, 8)  # the last batch of an epoch is smaller, and then the first graph is run again
    settings = SETTINGS.model_copy(update={"optimizer": optimizer, "learning_rate": 0.01})
    ways = CudaGraph(compiles=compiles), Eager()
    graphs, eager = (trained(networks, way, stack, sizes, device, settings=settings) for way in ways)
    torch.testing.assert_close(graphs, eager, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("stack", [MEMBERS, 2, 1])
def test_channels_last_weights_train_as_others(stack):
    networks = [initialised_network("resnet18_width", 2, (1, 8, 8), 10, seed).double() for seed in range(MEMBERS)]

    def prepare(cohort):
        lay_out_channels_last(cohort, networks[0])
        assert not cohort.parameters["1.convolution1.weight"][0].is_contiguous()

    found = trained(networks, Eager(), stack, [8, 5], prepare=prepare)
    torch.testing.assert_close(found, trained(networks, Eager(), stack, [8, 5]), rtol=1e-9, atol=1e-11)


class Normalises(nn.Module):
    """Batch norms before one ReLU, before none, and before one whose output is also used elsewhere."""

    def __init__(self, channels):
        super().__init__()
        self.first, self.second = (nn.Conv2d(inner, channels, 3, padding=1) for inner in (1, channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(3))
        self.last = nn.Linear(2 * channels, 10)

    def forward(self, x):
        x = F.relu(self.norms[0](self.first(x) + 30))
        y = F.relu(self.norms[1](self.second(x)))
        pooled = F.max_pool2d(y + x, 2)
        return self.last(torch.cat([pooled.mean((2, 3)), (y * self.norms[2](y)).amax((2, 3))], 1))


def test_loops_for_compiled_steps_compute_batch_norm_and_pooling():
    networks, replaced = [Normalises(4).double() for _ in range(MEMBERS)], []

    class Rewritten(Eager):
        def captured(self, *args):
            step = with_fast_loops(super().captured(*args))
            replaced.extend(node.target.__name__ for node in step.graph.nodes if callable(node.target))
            return step

    found = trained(networks, Rewritten(), MEMBERS, [8])
    names = ("_normalised", "_normalised_backward", "_rectified", "native_batch_norm.default")
    assert [replaced.count(name) for name in names] == [6, 6, 4, 0], "two passes of SAM"
    torch.testing.assert_close(found, trained(networks, Eager(), MEMBERS, [8]), rtol=1e-8, atol=1e-10)


class MakesConstants(nn.Sequential):
    """Its forward pass makes a tensor, which capturing keeps as a constant."""

    def forward(self, x):
        return super().forward(x) * torch.linspace(0, 1, 10, dtype=x.dtype, device=x.device)


class Decides(nn.Sequential):
    """Its values decide what it computes, which no list of operations can follow; it changes its input."""

    def forward(self, x):
        x.mul_(2)
        return super().forward(x) if x.mean() > 0 else -super().forward(x)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=needs_gpu)])
@pytest.mark.parametrize(
    ("kind", "stack"), [*itertools.product((nn.Sequential, MakesConstants), (MEMBERS, 2, 1)), (Decides, 1)]
)
def test_captured_predictions_are_those_of_the_networks(kind, stack, device):
    networks = [kind(nn.Flatten(), nn.Dropout(), nn.Linear(64, 10)).double().to(device) for _ in range(MEMBERS)]
    execution = execution_for("auto", torch.device(device))
    cohort = CohortNetwork(networks, SETTINGS, pixel_limits(), copies_of(networks), execution=execution)
    cohort.restack(stack)
    cohort.captures_predictions = True
    for step, size in enumerate([5, 5, 3, 5]):
        images = torch.randn(size, 1, 8, 8, dtype=torch.double, device=device) + 0.1 * (-1) ** step
        expected = torch.stack([network.eval()(images.clone()) for network in networks])
        torch.testing.assert_close(cohort.predict(images), expected)
        for number, network in enumerate(networks):
            network[2].weight.data += 1
            cohort.parameters["2.weight"][number] += 1


@needs_gpu
def test_a_cuda_graph_keeps_its_constants():
    torch.manual_seed(0)
    networks, device = [MakesConstants(nn.Flatten(), nn.Linear(64, 10)) for _ in range(MEMBERS)], torch.device("cuda")
    graphs = trained(networks, CudaGraph(), 1, [8, 5] * 20, device)
    torch.testing.assert_close(graphs, trained(networks, Eager(), 1, [8, 5] * 20, device), rtol=1e-4, atol=1e-5)


@needs_gpu
def test_a_cohort_whose_cuda_graph_does_not_fit_is_computed_in_parts():
    device, room = torch.device("cuda"), torch.cuda.get_device_properties(0).total_memory
    networks = [initialised_network("resnet18_width", 16, (3, 32, 32), 10, seed).to(device) for seed in range(8)]
    cohort = CohortNetwork(networks, SETTINGS, pixel_limits(), copies_of(networks), execution=CudaGraph())
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2**30) / room)
    try:
        images, labels = torch.rand(8, 128, 3, 32, 32, device=device), torch.zeros(8, 128, dtype=int, device=device)
        gradients, _ = cohort.backward({IMAGES: images, LABELS: labels})
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert cohort.stack < 8
    assert all(gradient.isfinite().all() for gradient in gradients.values())


@needs_gpu
def test_epochs_for_a_cuda_graph_are_drawn_as_on_a_cpu():
    models = cohort_of(augmentation="crop_flip", mixing="cutmix")
    images = torch.randint(256, (200, 3, 8, 6), dtype=torch.uint8)
    data = Dataset(images, torch.arange(200) % 10, images, images, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3)
    here, there = (AugmentedImages(models, data, torch.device(kind), torch.float64) for kind in ("cpu", "cuda"))
    for epoch in range(3):
        drawn, expected = there.draws(epoch), here.draws(epoch)
        assert all(torch.equal(own.cpu(), other) for own, other in zip(drawn, expected, strict=True))
        for (_, own), (_, other) in zip(there.augmented(drawn), here.augmented(expected), strict=True):
            torch.testing.assert_close(own.cpu(), other)


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


def test_the_execution_of_a_device():
    kinds = {("auto", "cpu"): Eager, ("auto", "cuda"): CudaGraph, ("eager", "cuda"): Eager, ("compiled", "cpu"): Eager}
    for (name, device), kind in kinds.items():
        execution = execution_for(name, torch.device(device))
        assert (type(execution), execution.compiles) == (kind, name == "compiled")


@pytest.mark.parametrize(("groups", "members", "inner", "out"), [(12, 2, 1, 3), (4, 4, 2, 1), (12, 6, 3, 2)])
def test_packed_convolutions_are_the_grouped_ones(groups, members, inner, out):
    images = torch.randn(5, groups * inner, 6, 6, dtype=torch.double)
    weight = torch.randn(groups * out, inner, 3, 3, dtype=torch.double)
    whole = block_diagonal(weight, groups, members)
    packed = F.conv2d(images, whole, padding=1, groups=groups // members)
    torch.testing.assert_close(packed, F.conv2d(images, weight, padding=1, groups=groups))
    assert torch.equal(diagonal_blocks(whole, groups, members), weight)


@pytest.mark.parametrize("rate", [0.01, 1e30])
def test_a_packed_cohort_trains_as_an_unpacked_one(rate, digits):
    """Bit for bit after a member has diverged, within the precision of bfloat16 before."""
    models = cohort_of("resnet18_width", 2, epochs=2, batch_size=100, precision="bfloat16", optimizer="sgd")[:3]
    cohort, found = [*models[:2], *with_rates(models[2:], rate)], []
    for channels in (8, 0):  # of width 4, the gradients of weights share groups even so
        training = CohortTraining(cohort, digits, CPU, ResourcesConfig(stack=3))
        training.network.pack(channels)
        training.run_epoch()
        assert training.network.packs == (rate < 1 and channels > 0)
        training.run_epoch()
        again = CohortTraining(cohort, digits, CPU, ResourcesConfig(stack=3))
        again.restore(training.state())
        assert again.network.packs == training.network.packs
        found.append(training.trained())
    for packed, plain in zip(*found, strict=True):
        near = {} if rate > 1 else {"rtol": 0.1, "atol": 0.02}
        torch.testing.assert_close(packed.weights, plain.weights, **{"rtol": 0, "atol": 0, "equal_nan": True} | near)
    assert [model.diverged_epoch for model in found[0]] == [None, None, 1 if rate > 1 else None]


TESTED_TORCH = f"torch=={torch.__version__.partition('+')[0]}\n" in (ROOT / "constraints.txt").read_text()
COUNTS = {
    (4, 1, 1): (251, 212.2, 1_718),
    (4, 4, 4): (256, 864.6, 6_871),
    (4, 4, 1): (1050, 850.3, 6_871),
    (16, 4, 4): (256, 3334.6, 107_210),
    (64, 1, 1): (251, 3429.1, 426_112),
}
"""Kernels, megabytes and millions of operations of a step by width, members, and how many are computed at a time."""


@pytest.mark.skipif(not TESTED_TORCH, reason="other versions of torch take other operations")
@pytest.mark.parametrize("cohort", COUNTS, ids=str)
def test_a_step_on_a_gpu_moves_so_much(cohort):
    """Counted, not measured (tests/benchmarks/counts.py). Who adds a copy or a kernel sees it here."""
    found = counted_step(*cohort).all
    moved, flops = sum(kernel.moved for kernel in found), sum(kernel.flops for kernel in found)
    assert (len(found), round(moved / 1e6, 1), round(flops / 1e6)) == COUNTS[cohort]
