"""Plans: what they count, memory against what is allocated; --plan and the sweep refuse the same networks."""

import dataclasses
import os
import re
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from conftest import small_sweep
from support.broken_networks import BROKEN, WORKING
from support.cohorts import CONVOLUTIONAL, OPTIMIZERS, Memory, cohort_of

from dbviz_ray.config import AdversaryConfig, ResourcesConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import DatasetFacts, facts_of_dataset
from dbviz_ray.planning import step_times
from dbviz_ray.planning.memory import CHECKPOINT_COPIES, WORKER_BYTES, memory_need
from dbviz_ray.planning.plan import plan
from dbviz_ray.planning.sizes import facts_of, longest_first, passes_of_a_step, training_flops
from dbviz_ray.planning.step_times import StepTimes, measured_step_times
from dbviz_ray.sweep import main
from dbviz_ray.training.allocations import AllocationCounter, peak_memory, reset_peak_memory
from dbviz_ray.training.cohort import train_cohort

DIGITS = DatasetFacts((1, 8, 8), 10, 200, 100)


def test_plan_counts_what_the_sweep_holds():
    planes = {"a": {"count": 3, "resolution": 4}, "b": {"count": 5, "resolution": 2}}
    counted = plan(small_sweep(planes=planes, training={"epochs": 3, "batch_size": 64, "snapshots": [1]}))
    assert (counted.models, len(counted.cohorts), counted.planes, counted.labellings) == (12, 2, 8, 24)
    assert counted.points == 24 * (3 * 16 + 5 * 4)
    assert counted.parameters == 6 * (64 * 4 + 4 + 40 + 10) + 6 * (64 * 16 + 16 + 160 + 10)
    assert counted.storage["weights"] == 2 * 4 * counted.parameters
    assert 0 < counted.training_seconds < 60


def test_plan_counts_margins_and_probabilities():
    planes = {"a": {"count": 3, "resolution": 4, "probabilities": True}, "b": {"count": 5, "resolution": 2}}
    margins = {"split": "test", "directions": 4, "steps": 20}
    without, counted = plan(small_sweep(planes=planes)), plan(small_sweep(planes=planes, margins=margins))
    assert without.line_points == 0
    assert counted.line_points == 12 * 100 * (1 + 4 * 20)
    assert counted.points == without.points
    assert counted.evaluation_seconds > without.evaluation_seconds
    assert counted.storage["probabilities"] == pytest.approx(1.8 * 12 * 3 * 16 * 10, abs=1)
    assert f"{counted.line_points:,}" in str(counted)


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures then")
def test_without_a_gpu_the_plan_of_a_gpu_sweep_says_that_it_assumes():
    text = str(plan(load_sweep("double_descent", ["resources.gpu_hour_price=2.5"])))
    assert "150 TFLOP/s" in text, "the assumption"
    assert re.search(r"\d+, at 2.5 a GPU-hour", text)


def test_the_time_on_cpus_is_that_of_its_workers():
    """Two cohorts on two workers take as long as the longer one, not half of both."""
    counted = plan(small_sweep())
    wide, narrow = (dataclasses.replace(counted.cohorts[0], seconds=seconds) for seconds in (90.0, 10.0))
    told = str(dataclasses.replace(counted, cohorts=[wide, narrow]))
    assert f"train {90 if (os.cpu_count() or 1) > 1 else 100} s, " in told
    assert "GPU" not in told


def test_step_times_lie_between_measurements_and_go_on_at_the_best_rate():
    times = StepTimes({"a": [(1e6, 0.01), (1e8, 0.1)]}, 1e9, 2)
    assert times.seconds("a", 1e7) == pytest.approx(10**-1.5)
    assert times.seconds("a", 1.1e9) == pytest.approx(0.1 + 1)
    assert times.seconds("a", 1) == pytest.approx(0.01)
    assert times.seconds("b", 1e8) == pytest.approx(0.1)  # the curve of what was measured


def test_steps_are_measured_for_their_operations_in_epochs_like_real_ones(cpu, monkeypatch):
    """Each epoch has several steps, so one step does not carry the fixed cost of an epoch."""
    sweep, steps = small_sweep(grid={"width": [4, 512], "seed": [0, 1]}), []

    def train(models, data, *arguments, **named):
        steps.append(len(data.train_labels) / models[0].training.batch_size)
        return train_cohort(models, data, *arguments, **named)

    monkeypatch.setattr(step_times, "train_cohort", train)
    times = measured_step_times(sweep.cohorts(), facts_of_dataset(sweep.dataset, "unused"), cpu, sweep.resources)
    (few, quick), (many, slow) = times.curves["fully_connected"]
    assert many == few * 128
    assert all(0 < seconds < 5 for seconds in (quick, slow))  # which is longer depends on what else runs
    assert torch.get_num_threads() == 1
    assert steps == [4, 4]  # 200 images in batches of 64


def only_model(architecture="fully_connected", width=16, options=None, **training):
    grid = {"architecture": [architecture], "width": [width], "seed": [0, 1], "options": options or {}}
    return small_sweep(grid=grid, training={"epochs": 3, "batch_size": 64} | training).models()[0]


def test_sizes_by_hand():
    facts = facts_of(only_model(), DIGITS)
    assert facts.parameters == 64 * 16 + 16 + 16 * 10 + 10
    assert facts.forward_flops == 2 * (64 * 16 + 16 * 10)
    assert facts_of(only_model("fully_connected_deep"), DIGITS).forward_calls > 1.5 * facts.forward_calls > 0


DRAWING = ("dropouts", "functional_dropout", "returns_a_dictionary", "branches_on_a_value")


@pytest.mark.parametrize("name", [*(f"network_kinds:{kind}" for kind in DRAWING), "user_networks:needs_numbers"])
def test_networks_that_draw_or_need_numbers_are_counted_too(name):
    for model in (only_model(f"support.{name}", 5), only_model("vit", options={"patch_size": 2, "dropout": 0.1})):
        assert facts_of(model, DIGITS).forward_flops > 0


@pytest.mark.parametrize(("training", "passes"), [({}, 3), ({"sam_radius": 0.1}, 6), ({"adversary": {"steps": 5}}, 18)])
def test_cost_of_a_step_and_of_a_training(training, passes):
    model = only_model(**training)
    assert passes_of_a_step(model) == passes
    forward = 2 * (64 * 16 + 16 * 10)
    assert training_flops([model] * 2, DIGITS) == 2 * forward * (3 * passes * 200 + 100)


def test_longest_first(sweep):
    cohorts = longest_first(sweep.cohorts(), facts_of_dataset(sweep.dataset, "unused"))
    assert [cohort.models[0].width for cohort in cohorts] == [16, 4]


MODULES = {"no_python": "def build(:", "import_fails": "import no_such_module", "import_stops": "raise SystemExit(4)"}


@pytest.mark.parametrize("kind", [*BROKEN, *MODULES])
def test_a_broken_network_or_module_is_refused_alike(kind, tmp_path, capsys, monkeypatch):
    (tmp_path / f"broken_{kind}.py").write_text(MODULES.get(kind, ""))
    monkeypatch.syspath_prepend(tmp_path)
    architecture = f"support.broken_networks:{kind}" if kind in BROKEN else f"broken_{kind}:build"
    words = [f"grid.architecture=[{architecture}]", "grid.width=[4]", "grid.seed=[0,1]", f"--out={tmp_path / 'run'}"]
    found = []
    for more in ([], ["--plan"]):
        code = main([*words, "--address=local", "--stages=train", *more])
        *_, last = [line for line in capsys.readouterr().err.splitlines() if line.startswith("dbviz-ray")]
        found.append((code, last))
    assert not (tmp_path / "run").exists()
    of_sweep, of_plan = found
    assert of_sweep == of_plan
    assert of_plan[0] == 2
    assert kind in MODULES or f"grid.architecture: '{architecture}'" in of_plan[1]


@pytest.mark.parametrize("kind", WORKING)
def test_unusual_networks_are_planned(kind, monkeypatch):
    monkeypatch.setattr(step_times, "BUDGET_SECONDS", 1.0)
    sweep = small_sweep(grid={"architecture": [f"support.broken_networks:{kind}"], "width": [4], "seed": [0, 1]})
    assert plan(sweep).models == 2


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
    settings = {"epochs": 1, "batch_size": 200} | OPTIMIZERS[optimizer]
    small, large = (cohort_of("fully_connected_deep", width, **settings)[:2] for width in (256, 2048))
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


def test_a_network_that_needs_numbers_is_counted_on_the_cpu():
    def counted(kind):
        models = cohort_of(f"support.network_kinds:{kind}", 256, precision="float32", batch_size=100)[:3]
        return memory_need(models, DIGITS, ResourcesConfig(gpus_per_cohort=1, execution="eager", stack=3)).device

    assert counted("branches_on_a_value") == pytest.approx(counted("constant_attribute"), rel=0.3)


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
