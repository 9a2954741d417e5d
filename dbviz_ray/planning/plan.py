"""The work and cost of a sweep, estimated from counts and a short measurement before it runs."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from dbviz_ray.config import Cohort, MarginsConfig, SweepConfig
from dbviz_ray.datasets import DatasetFacts, facts_of_dataset
from dbviz_ray.evaluation.margins import check_enough, places_of
from dbviz_ray.formatting import bytes_text, duration_text
from dbviz_ray.planning.sizes import evaluation_flops, facts_of, longest_first, step_flops, training_flops
from dbviz_ray.planning.step_times import StepTimes, check_networks, measured_step_times

ASSUMED_GPU_FLOPS = 1.5e14
ASSUMED_GPU_STEP_SECONDS = 1e-3
"""Guesses for one data-centre GPU in bfloat16, used if this machine has none; the plan says so. For cohorts of 6
ResNet-18s they give 1.2 to 3 times the least time that an H100 needs by counts (benchmarks/counts.py, 2026-11-29)."""
LABEL_BYTES_PER_POINT = 0.1
"""Compressed size; in the digits sweep 0.003 to 0.085, 0.065 on average."""
PROBABILITY_BYTES = 1.8
"""Compressed size of one class probability; 1.6 to 1.9 for trained networks on the digits."""
LINES = 40


@dataclass(frozen=True)
class CohortPlan:
    """One cohort's share of a plan."""

    name: str
    members: int
    flops: float
    """Floating-point operations of the whole training."""
    seconds: float
    """On one worker: a GPU, or `cpus_per_cohort` cores."""


@dataclass(frozen=True)
class Plan:
    """The counts and estimates that `--plan` prints."""

    sweep: SweepConfig
    cohorts: Sequence[CohortPlan]
    """In the order in which they are trained."""
    models: int
    labellings: int
    """Models and snapshots that label planes."""
    planes: int
    parameters: int
    smallest: int
    largest: int
    storage: Mapping[str, int]
    """Bytes, by what they hold."""
    points: int
    """Grid points in all."""
    line_points: int
    """Upper limit on the lines of the margins; most lines end where the class first changes."""
    evaluation_seconds: float
    """On one worker."""
    basis: str
    """The measurement or assumption behind the times."""

    @property
    def training_seconds(self) -> float:
        """All cohorts, one after another on one worker."""
        return sum(cohort.seconds for cohort in self.cohorts)

    def __str__(self) -> str:
        resources = self.sweep.resources
        on_gpu = resources.gpus_per_cohort > 0
        stored = [f"about {bytes_text(size)} of {kind}" for kind, size in self.storage.items() if size]
        rows = [
            ("sweep", self.sweep.name),
            ("grid", _grid_text(self.sweep)),
            ("models", f"{self.models:,} in {len(self.cohorts):,} cohorts"),
            ("parameters", f"{self.parameters:,} in all; {self.smallest:,} to {self.largest:,} a model"),
            ("planes", f"{self.planes:,} a labelling, in {len(self.sweep.planes)} plane sets"),
            ("forward passes", f"{self.points:,} grid points, {self.labellings:,} labellings of all plane sets"),
            *([("", f"at most {self.line_points:,} points on lines")] if self.line_points else []),
            ("storage", f"{', '.join(stored[:-1])} and {stored[-1]}"),
            ("training", f"{sum(c.flops for c in self.cohorts):.3g} floating-point operations"),
        ]
        if on_gpu:
            hours, price = (self.training_seconds + self.evaluation_seconds) / 3600, resources.gpu_hour_price
            training, evaluation = map(duration_text, (self.training_seconds, self.evaluation_seconds))
            times = f"{training} training and {evaluation} evaluation: {hours:,.1f} GPU-hours"
            unknown = "name resources.gpu_hour_price to see it"
            cost = unknown if price is None else f"{hours * price:,.0f}, at {price:g} a GPU-hour"
            rows += [("estimated time", times), ("estimated cost", cost)]
        else:
            workers = max(1, (os.cpu_count() or 1) // resources.cpus_per_cohort)
            longest = max(cohort.seconds for cohort in self.cohorts)
            training = duration_text(max(longest, self.training_seconds / workers))
            evaluation = duration_text(self.evaluation_seconds / workers)
            times = f"train {training}, evaluate {evaluation}, on the {os.cpu_count()} cores of this machine"
            rows.append(("estimated time", times))
        rows.append(("basis", self.basis))
        text = "\n".join(f"{name:15} {value}" for name, value in rows)
        return f"{text}\n\n{self._cohort_lines(on_gpu)}"

    def _cohort_lines(self, on_gpu: bool) -> str:
        """One line for each of the most expensive cohorts."""
        unit = "GPU time" if on_gpu else "time"
        shown = sorted(self.cohorts, key=lambda cohort: -cohort.seconds)[:LINES]
        width = max(len(cohort.name) for cohort in shown)
        lines = [f"{'cohort':{width}}  members  operations  {unit:>9}"]
        lines += [f"{c.name:{width}}  {c.members:>7}  {c.flops:>10.2g}  {duration_text(c.seconds):>9}" for c in shown]
        if len(self.cohorts) > len(shown):
            lines.append(f"and {len(self.cohorts) - len(shown)} cheaper ones")
        return "\n".join(lines)


def plan(sweep: SweepConfig) -> Plan:
    """Count the work of `sweep`, and measure for some seconds how fast this machine does it."""
    data = facts_of_dataset(sweep.dataset, sweep.resources.data_directory)
    line_points = _line_points(sweep.margins, data)
    cohorts = sweep.cohorts()
    check_networks(cohorts, data)
    models = sweep.models()
    facts = [facts_of(model, data) for model in models]
    kept = [len(model.training.kept_epochs) for model in models]
    points_of = {name: planes.count * planes.resolution**2 for name, planes in sweep.planes.items()}
    with_probabilities = sum(points_of[name] for name, planes in sweep.planes.items() if planes.probabilities)
    points = sum(points_of.values())
    on_gpu = sweep.resources.gpus_per_cohort > 0
    if on_gpu and not torch.cuda.is_available():
        times = StepTimes.assumed(ASSUMED_GPU_FLOPS, ASSUMED_GPU_STEP_SECONDS)
        basis = (
            f"assumed, not measured: {ASSUMED_GPU_FLOPS / 1e12:.0f} TFLOP/s and {ASSUMED_GPU_STEP_SECONDS * 1e3:.0f} "
            "ms a step; this machine has no GPU"
        )
    else:
        times = measured_step_times(cohorts, data, torch.device("cuda" if on_gpu else "cpu"), sweep.resources)
        basis = f"{times.measurements} training steps measured on this machine just now, the rest by their operations"
    labellings = sum(kept)
    forward = sum(f.forward_flops * labelling for f, labelling in zip(facts, kept, strict=True))
    return Plan(
        sweep=sweep,
        cohorts=[_cohort_plan(cohort, data, times) for cohort in longest_first(cohorts, data)],
        models=len(models),
        labellings=labellings,
        planes=sum(planes.count for planes in sweep.planes.values()),
        parameters=sum(f.parameters for f in facts),
        smallest=min(f.parameters for f in facts),
        largest=max(f.parameters for f in facts),
        storage={
            "weights": 4 * sum(f.parameters * labelling for f, labelling in zip(facts, kept, strict=True)),
            "label maps": int(labellings * points * LABEL_BYTES_PER_POINT),
            "probabilities": int(labellings * with_probabilities * data.classes * PROBABILITY_BYTES),
        },
        points=labellings * points,
        line_points=labellings * line_points,
        evaluation_seconds=forward * (points + line_points) / times.flops_rate,
        basis=basis,
    )


def _cohort_plan(cohort: Cohort, data: DatasetFacts, times: StepTimes) -> CohortPlan:
    model, settings = cohort.models[0], cohort.models[0].training
    steps = settings.epochs * math.ceil(data.train_images / settings.batch_size)
    of_step = step_flops(cohort.models, data, min(settings.batch_size, data.train_images))
    recipe = "" if len({m.recipe for m in cohort.models}) > 1 or model.recipe == "default" else f" {model.recipe}"
    seconds = steps * times.seconds(model.architecture, of_step)
    seconds += evaluation_flops(cohort.models, data) / times.flops_rate
    name = f"{model.architecture} {model.width}{recipe}"
    return CohortPlan(name, len(cohort.models), training_flops(cohort.models, data), seconds)


def _line_points(margins: MarginsConfig | None, data: DatasetFacts) -> int:
    """Upper limit of forward passes for one model's margins, without the few of the bisection.

    UserError if there are too few images.
    """
    if margins is None:
        return 0
    there = data.train_images if margins.split == "train" else data.test_images
    check_enough(there, margins)
    return min(margins.images, there) * (1 + margins.directions * (len(places_of(margins)) - 1))


def _grid_text(sweep: SweepConfig) -> str:
    models = sweep.models()
    counts = {
        "architectures": len({(m.architecture, str(m.options)) for m in models}),
        "widths": len({(m.architecture, m.width) for m in models}),
        "noise levels": len({m.label_noise for m in models}),
        "recipes": len({m.recipe for m in models}),
        "learning rates": len({m.training.learning_rate for m in models}),
        "seeds": len({m.seeds for m in models}),
    }
    return ", ".join(f"{count} {name if count > 1 else name[:-1]}" for name, count in counts.items())
