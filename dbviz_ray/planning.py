"""What a sweep would do and cost, worked out without doing any of it."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode

from dbviz_ray.architectures import build_network
from dbviz_ray.config import Cohort, DatasetConfig, ModelConfig, SweepConfig
from dbviz_ray.datasets import digits, load_dataset, subsets
from dbviz_ray.errors import UserError

CPU_FLOPS = 4e10
CPU_STEP_SECONDS = 5e-4
"""One core of an AMD EPYC 9005 (AVX-512), torch 2.14, 2026-11-22; fitted to the digits sweep, which takes 33 s to
train and 6 s to evaluate on two."""
GPU_FLOPS = 2e13
GPU_STEP_SECONDS = 5e-3
"""Assumed for one data-centre GPU in bfloat16, not measured."""
LABEL_BYTES_PER_POINT = 0.1
"""Of a compressed label map; in the digits sweep 0.003 to 0.085, 0.065 on average."""


@dataclass(frozen=True)
class DatasetFacts:
    """Sizes of a data set."""

    image_shape: tuple[int, int, int]
    classes: int
    train_images: int
    test_images: int


@dataclass(frozen=True)
class NetworkFacts:
    """Sizes of one network."""

    parameters: int
    forward_flops: int
    """Floating-point operations of one image's forward pass."""


def dataset_facts(config: DatasetConfig, data_directory: str) -> DatasetFacts:
    """Sizes of the data set that `config` names; only a user's own one is loaded to tell."""
    if config.name == "digits":
        return DatasetFacts((1, 8, 8), 10, *digits.split_sizes(config))
    if config.name == "cifar10":
        train, test = subsets.kept_size(config, "train", 50_000), subsets.kept_size(config, "test", 10_000)
        return DatasetFacts((3, 32, 32), 10, train, test)
    loaded = load_dataset(config, data_directory)
    return DatasetFacts(loaded.image_shape, len(loaded.class_names), len(loaded.train_labels), len(loaded.test_labels))


@lru_cache(maxsize=1024)
def network_facts(architecture: str, width: int, image_shape: tuple[int, int, int], classes: int) -> NetworkFacts:
    """Parameters and forward cost. UserError if the network does not work.

    Counted on torch's meta device, where nothing is computed; on the CPU if the network needs numbers to be built.
    """
    try:
        try:
            network, flops, scores = _tried("meta", architecture, width, image_shape, classes)
        except Exception:
            network, flops, scores = _tried("cpu", architecture, width, image_shape, classes)
        if scores != (1, classes):
            raise ValueError(f"its scores have shape {scores}, not (1, {classes})")
        if any(isinstance(module, _DropoutNd) and module.p > 0 for module in network.modules()):
            raise ValueError("it uses dropout, for which models have no stream of their own yet")
    except Exception as error:  # a user's own code may raise anything
        raise UserError(
            f"grid.architecture: {architecture} of width {width} does not work on images {image_shape}: "
            f"{type(error).__name__}: {' '.join(str(error).split())}"
        ) from None
    return NetworkFacts(sum(parameter.numel() for parameter in network.parameters()), flops)


def facts_of(model: ModelConfig, data: DatasetFacts) -> NetworkFacts:
    """`network_facts` of a model on its data set."""
    return network_facts(model.architecture, model.width, data.image_shape, data.classes)


def _tried(
    device: str, architecture: str, width: int, image_shape: tuple[int, int, int], classes: int
) -> tuple[nn.Module, int, tuple[int, ...]]:
    """A network, and the cost and the shape of one image's forward pass."""
    counter = FlopCounterMode(display=False)
    with torch.device(device), torch.no_grad():
        network = build_network(architecture, width, image_shape, classes).eval()
        with counter:
            scores = network(torch.zeros(1, *image_shape))
    return network, counter.get_total_flops(), tuple(scores.shape)


def training_flops(models: Sequence[ModelConfig], data: DatasetFacts) -> float:
    """Forward, twice that for backward, and the test evaluations, of models of one shape."""
    forward = facts_of(models[0], data).forward_flops
    settings = models[0].training
    images = 3 * data.train_images * settings.epochs
    images += data.test_images * math.ceil(settings.epochs / settings.evaluate_every)
    return float(forward) * images * len(models)


def longest_first(cohorts: Sequence[Cohort], data: DatasetFacts) -> list[Cohort]:
    """The order in which workers idle least at the end."""
    return sorted(cohorts, key=lambda cohort: -training_flops(cohort.models, data))


@dataclass(frozen=True)
class Plan:
    """The counts and estimates that `--plan` prints."""

    sweep: SweepConfig
    models: int
    cohorts: int
    planes: int
    forward_passes: int
    parameters: int
    smallest: int
    largest: int
    weight_bytes: int
    label_bytes: int
    training_seconds: float
    evaluation_seconds: float
    on_gpu: bool

    def __str__(self) -> str:
        where = f"on the {os.cpu_count()} cores of this machine"
        if self.on_gpu:
            assumed = f"{GPU_FLOPS / 1e12:.0f} TFLOP/s and {GPU_STEP_SECONDS * 1e3:.0f} ms a step"
            where = f"on one GPU, assuming {assumed}, not measured"
        grid = self.sweep.grid
        rows = [
            ("sweep", self.sweep.name),
            (
                "grid",
                f"{len(grid.architecture)} architectures x {len(grid.width)} widths x "
                f"{len(grid.label_noise)} noise levels x {sum(1 for _ in grid.seeds())} seeds",
            ),
            ("models", f"{self.models:,} in {self.cohorts:,} cohorts (Ray Tune trials)"),
            ("parameters", f"{self.parameters:,} in all; {self.smallest:,} to {self.largest:,} a model"),
            ("planes", f"{self.planes:,} a model, in {len(self.sweep.planes)} plane sets"),
            ("forward passes", f"{self.forward_passes:,} grid points"),
            (
                "storage",
                f"{_bytes(self.weight_bytes)} of weights, about {_bytes(self.label_bytes)} of label maps",
            ),
            (
                "estimated time",
                f"train {_duration(self.training_seconds)}, evaluate {_duration(self.evaluation_seconds)}, {where}",
            ),
        ]
        return "\n".join(f"{name:15} {value}" for name, value in rows)


def plan(sweep: SweepConfig) -> Plan:
    """Count what `sweep` would do."""
    data = dataset_facts(sweep.dataset, sweep.resources.data_directory)
    models, cohorts = sweep.models(), sweep.cohorts()
    facts = [facts_of(model, data) for model in models]
    points = sum(planes.count * planes.resolution**2 for planes in sweep.planes.values())
    on_gpu = sweep.resources.gpus_per_cohort > 0
    flops_rate = GPU_FLOPS if on_gpu else CPU_FLOPS
    step_seconds = GPU_STEP_SECONDS if on_gpu else CPU_STEP_SECONDS
    workers = 1 if on_gpu else max(1, (os.cpu_count() or 1) // sweep.resources.cpus_per_cohort)
    steps = sweep.training.epochs * math.ceil(data.train_images / sweep.training.batch_size)
    training = sum(training_flops(c.models, data) / flops_rate + steps * step_seconds for c in cohorts)
    evaluation = sum(f.forward_flops for f in facts) * points / flops_rate
    return Plan(
        sweep=sweep,
        models=len(models),
        cohorts=len(cohorts),
        planes=sum(planes.count for planes in sweep.planes.values()),
        forward_passes=len(models) * points,
        parameters=sum(f.parameters for f in facts),
        smallest=min(f.parameters for f in facts),
        largest=max(f.parameters for f in facts),
        weight_bytes=4 * sum(f.parameters for f in facts),
        label_bytes=int(len(models) * points * LABEL_BYTES_PER_POINT),
        training_seconds=training / workers,
        evaluation_seconds=evaluation / workers,
        on_gpu=on_gpu,
    )


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"
