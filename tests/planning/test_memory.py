"""The memory that a cohort is said to need, against what its training allocates; and how allocations are counted."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from support import user_networks
from support.cohorts import CONVOLUTIONAL, OPTIMIZERS, Memory, cohort_of

from dbviz_ray.config import AdversaryConfig, ResourcesConfig
from dbviz_ray.datasets import DatasetFacts
from dbviz_ray.planning.memory import CHECKPOINT_COPIES, WORKER_BYTES, memory_need
from dbviz_ray.training.allocations import AllocationCounter, peak_memory, reset_peak_memory
from dbviz_ray.training.cohort import train_cohort

DIGITS = DatasetFacts((1, 8, 8), 10, 200, 100)
CIFAR = DatasetFacts((3, 32, 32), 10, 50_000, 10_000)
MIB = 2**20
RESIDUAL = {"architecture": "wide_resnet28", "width": 2, "options": {"depth": 10}}
TRAINED = {
    "fully connected, adam": (3, {"width": 512}),
    "fully connected, sgd": (1, {"width": 512} | OPTIMIZERS["sgd"]),
    "residual, sam": (1, RESIDUAL | {"sam_radius": 0.05}),
    "residual, bfloat16": (3, RESIDUAL | {"precision": "bfloat16"}),
    "transformer": (1, {"architecture": "vit", "width": 16, "options": {"layers": 2}}),
    "dropout, attacked": (3, CONVOLUTIONAL | {"width": 8, "adversary": AdversaryConfig(radius=2.0, step=1.0, steps=2)}),
}


@pytest.mark.parametrize(("stack", "settings"), TRAINED.values(), ids=TRAINED)
def test_what_is_counted_before_is_what_training_allocates(stack, settings, digits, cpu):
    models = cohort_of(**{"precision": "float32", "epochs": 1, "batch_size": 100} | settings)[:3]
    with AllocationCounter("cpu") as counter:
        train_cohort(models, digits, cpu, resources=ResourcesConfig(stack=stack))
    # On a GPU, tensors alone are said; the images count there, which lie in the memory already here.
    eager = ResourcesConfig(stack=stack, gpus_per_cohort=1, execution="eager")
    assert 0.8 < memory_need(models, DIGITS, eager).device / counter.peak < 1.5


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "sgd without momentum"])
def test_a_checkpoint_counts_as_what_is_saved(optimizer, digits, cpu):
    """These networks are nearly all weights."""
    alone, memory = ResourcesConfig(stack=1), Memory()
    small, large = (
        cohort_of("fully_connected_deep", width, epochs=1, batch_size=200, **OPTIMIZERS[optimizer])[:2]
        for width in (256, 2048)
    )
    train_cohort(small, digits, cpu, resources=alone, checkpoints=memory)
    saved = sum(tensor.nbytes for tensor in memory.saved[-1].values())
    of_small, of_large = (memory_need(models, DIGITS, alone).host - WORKER_BYTES for models in (small, large))
    assert of_small > (CHECKPOINT_COPIES + 1) * saved
    assert of_large > 10 * of_small


def test_more_of_everything_needs_more(digits):
    def need(members=2, data=CIFAR, resources=ResourcesConfig(), **settings):  # noqa: B008
        models = cohort_of(**RESIDUAL | {"width": 1, "batch_size": 128, "precision": "float32"} | settings)
        return memory_need(models[:members], data, resources)

    least, large = need().host, DatasetFacts((3, 64, 64), 10, 50_000, 10_000)
    for more in ({"members": 4}, {"width": 2}, {"precision": "float64"}, {"data": large}, {"batch_size": 1024}):
        assert need(**more).host > least, more
    assert need(resources=ResourcesConfig(stack=1)).host < least
    assert need().device == 0
    on_gpu = need(resources=ResourcesConfig(gpus_per_cohort=1))
    assert on_gpu.device > 0
    assert on_gpu.host < need(resources=ResourcesConfig(gpus_per_cohort=1), members=4, width=16).host


def test_a_network_that_needs_numbers_is_counted_on_the_cpu(monkeypatch):
    models = cohort_of("support.user_networks:convolutional", 8, precision="float32", batch_size=100)[:3]
    resources = ResourcesConfig(gpus_per_cohort=1, execution="eager", stack=3)
    counted = memory_need(models, DIGITS, resources).device
    convolutional = user_networks.convolutional

    def looks_at_numbers(**arguments):
        network = convolutional(**arguments)
        network.register_forward_hook(lambda module, inputs, result: result if float(inputs[0].sum()) < 1e9 else None)
        return network

    monkeypatch.setattr(user_networks, "looks_at_numbers", looks_at_numbers, raising=False)
    odd = [model.model_copy(update={"architecture": "support.user_networks:looks_at_numbers"}) for model in models]
    assert memory_need(odd, DIGITS, resources).device == pytest.approx(counted, rel=0.3)


def test_allocations_are_counted_once_and_until_they_are_freed(cpu):
    kept = torch.zeros(MIB, dtype=torch.uint8)
    with AllocationCounter("cpu") as counter:
        view, own = kept[:10].add_(1), torch.zeros(2 * MIB, dtype=torch.uint8)
        assert counter.live == 2 * MIB  # what was there before is not counted, nor are views
        half = own.view(2, -1)[0]
        temporary = own + 1
        assert counter.live == 4 * MIB
        del temporary, own
        assert counter.live == 2 * MIB  # a view holds it
        del half
    assert (counter.live, counter.peak, view.numel()) == (0, 4 * MIB, 10)
    with AllocationCounter("cpu") as here, AllocationCounter("meta") as there:
        torch.ones(MIB, dtype=torch.uint8, device="meta").add(1)
    assert (here.peak, there.peak) == (0, 2 * MIB)


def measured_peaks() -> list[int]:
    """Peaks of a process before it holds 200 MiB, while it does, afterwards, and measured anew."""
    reset_peak_memory()
    peaks = [peak_memory()["peak_memory_bytes"]]
    held = torch.ones(200 * MIB, dtype=torch.uint8)
    peaks.append(peak_memory()["peak_memory_bytes"])
    del held
    peaks.append(peak_memory()["peak_memory_bytes"])
    reset_peak_memory()
    return [*peaks, peak_memory()["peak_memory_bytes"]]


def test_the_peak_of_a_process_is_measured_and_can_be_measured_anew():
    with ProcessPoolExecutor(1, get_context("spawn")) as new_process:  # this one may keep what it frees
        before, risen, freed, anew = new_process.submit(measured_peaks).result()
    assert risen - before > 150 * MIB
    assert freed > risen - MIB  # the kernel counts in bundles of pages
    assert anew < risen - 100 * MIB
