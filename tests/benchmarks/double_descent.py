"""What does training for the double-descent sweep cost: the usual loop, one by one, and in cohorts?

    python tests/benchmarks/double_descent.py [--widths 1,2,4,...] [--quick] [--out FILE]

For a bare machine: wants torch, torchvision, numpy and pydantic (`pip install pydantic`), no Ray and no data. Random
images of CIFAR-10's shape; resnet18_width, batch 128, Adam at 1e-4, crop_flip. Seconds per epoch and model of

- the usual loop: PIL images through torchvision's RandomCrop, RandomHorizontalFlip, ToTensor and Normalize, a
  DataLoader with 2 workers, an ordinary module in float32 (torch's defaults), torch.optim.Adam, loss.item() a step;
- one by one: a cohort of one, in eager and, on a GPU, with the automatic execution (a CUDA graph);
- cohorts of 4 (as many as the sweep has of a width) and 8, with automatic stack and execution.

The last two train in bfloat16 autocast on a GPU, as the sweep does, and in float32 on a CPU. They are measured in
turn, after a round of warm-up: medians over rounds of as many steps as take a second or so, scaled to the 391 steps of
50,000 images. On a CPU rounds have at most 8 steps (1,024 images), and one thread computes; the usual loop's workers
are processes beside it.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from timing import alternating, as_a_worker, markdown, measured_on, models_of, random_dataset, ratio_text, seconds_of
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ResourcesConfig, TrainingConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.training.cohort import EVALUATION_BATCH, CohortTraining

ARCHITECTURE = "resnet18_width"
SHAPE = (3, 32, 32)
TRAIN_IMAGES, TEST_IMAGES, BATCH = 50_000, 10_000, 128
STEPS = -(-TRAIN_IMAGES // BATCH)
LEARNING_RATE = 1e-4
WIDTHS = (1, 2, 4, 8, 10, 16, 20, 32, 64)

# What sweeps/double_descent.yaml asks for.
SWEEP_WIDTHS = (*range(1, 21), 30, 40, 50, 60, 64)
SWEEP_MODELS_PER_WIDTH, SWEEP_EPOCHS, EVALUATE_EVERY = 4, 4000, 10

PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12}
"""Dense bfloat16 operations per second, as NVIDIA states them."""

USUAL, EAGER, GRAPH = "usual loop", "one by one, eager", "one by one, CUDA graph"
COHORTS = {"cohort of 4": 4, "cohort of 8": 8}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    rounds: int
    seconds: float
    """Aimed at for a round."""
    fewest_steps: int
    most_steps: int
    test_images: int

    def steps(self, step_seconds: float) -> int:
        """Steps of a round."""
        return max(self.fewest_steps, min(self.most_steps, int(self.seconds / step_seconds)))


@dataclass(frozen=True)
class Contender:
    """One way to train."""

    run: Callable[[], object]
    """Some steps of all its models."""
    evaluate: Callable[[], object]
    """Test logits of all its models on `Effort.test_images` images."""
    steps: int
    models: int = 1
    stack: int | None = None
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Result:
    """What was measured of a contender, per model."""

    epochs: list[float]
    """Seconds of an epoch of 50,000 images, round by round."""
    evaluation: float
    """Seconds of an evaluation of 10,000 images."""
    steps: int
    stack: int | None
    peak_bytes: int | None

    @property
    def epoch(self) -> float:
        """Median seconds of an epoch, without evaluation."""
        return statistics.median(self.epochs)


class Pictures(torch.utils.data.Dataset[tuple[Any, int]]):
    """Images that become PIL images one by one, as torchvision's CIFAR10."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, transform: Callable[[Any], Any]) -> None:
        self._images = images.permute(0, 2, 3, 1).contiguous().numpy()
        self._labels = labels.tolist()
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._transform(Image.fromarray(self._images[index])), self._labels[index]


def usual_loop(width: int, data: Dataset, device: torch.device, effort: Effort) -> Contender:
    """A textbook script."""
    network = initialised_network(ARCHITECTURE, width, SHAPE, 10, seed=0).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    plain = [transforms.ToTensor(), transforms.Normalize(data.mean, data.deviation)]
    augmented = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *plain]

    def step(images: torch.Tensor, labels: torch.Tensor) -> float:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    network.train()
    images, labels = data.normalised(data.train_images[:BATCH]), data.train_labels[:BATCH]
    step(images, labels)
    steps = effort.steps(min(seconds_of(lambda: step(images, labels)) for _ in range(3)))

    def loader(images: torch.Tensor, labels: torch.Tensor, layers: list[Any]) -> DataLoader[Any]:
        pictures = Pictures(images, labels, transforms.Compose(layers))
        # Persistent, so that starting workers is not multiplied where a round is less than an epoch.
        return DataLoader(pictures, BATCH, shuffle=layers is augmented, num_workers=2, persistent_workers=True)

    seen = first_images(data, steps * BATCH)
    train = loader(seen.train_images, seen.train_labels, augmented)
    test = loader(data.test_images, data.test_labels, plain)

    def run() -> None:
        network.train()
        for images, labels in train:
            step(images, labels)

    @torch.no_grad()
    def evaluate() -> None:
        network.eval()
        for images, labels in test:
            (network(images.to(device)).argmax(1) == labels.to(device)).sum().item()

    return Contender(run, evaluate, steps)


def in_cohort(
    width: int,
    models: int,
    data: Dataset,
    device: torch.device,
    effort: Effort,
    execution: Literal["auto", "eager"] = "auto",
) -> Contender:
    """A cohort with automatic stack, which is chosen on two steps' images and then kept."""
    settings = TrainingConfig(
        epochs=SWEEP_EPOCHS,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        augmentation="crop_flip",
        precision="bfloat16" if device.type == "cuda" else "float32",
        evaluate_every=SWEEP_EPOCHS,
    )
    members = models_of(ARCHITECTURE, width, models, settings)
    trial = CohortTraining(members, first_images(data, 2 * BATCH), device, ResourcesConfig(execution=execution))
    trial.run_epoch()  # captures
    steps = effort.steps(seconds_of(trial.run_epoch) / 2)
    stack = trial.network.stack
    del trial
    free_memory(device)
    resources = ResourcesConfig(stack=stack, execution=execution)
    training = CohortTraining(members, first_images(data, steps * BATCH), device, resources)

    def evaluate() -> None:
        for batch in data.test_images.split(EVALUATION_BATCH):
            training.network.predict(data.normalised(batch.to(device))).argmax(-1).cpu()

    return Contender(training.run_epoch, evaluate, steps, models, stack)


def first_images(data: Dataset, count: int) -> Dataset:
    """`data` with fewer training images."""
    return replace(data, train_images=data.train_images[:count], train_labels=data.train_labels[:count])


def measured(width: int, data: Dataset, device: torch.device, effort: Effort) -> dict[str, Result]:
    """All ways for one width; one that does not fit into the memory is left out."""
    ways: dict[str, Callable[[], Contender]] = {USUAL: lambda: usual_loop(width, data, device, effort)}
    ways[EAGER] = lambda: in_cohort(width, 1, data, device, effort, "eager")
    if device.type == "cuda":
        ways[GRAPH] = lambda: in_cohort(width, 1, data, device, effort)
    for name, models in COHORTS.items():
        ways[name] = lambda models=models: in_cohort(width, models, data, device, effort)  # type: ignore[misc]
    contenders: dict[str, Contender] = {}
    for name in sorted(ways, key=lambda name: -COHORTS.get(name, 0)):  # the largest finds the most memory
        try:
            contenders[name] = with_peak(device, ways[name])
        except torch.OutOfMemoryError as error:
            print(f"width {width}, {name}: {' '.join(str(error).split())}", file=sys.stderr)
    seconds = alternating({name: contender.run for name, contender in contenders.items()}, effort.rounds)
    evaluations = alternating({name: contender.evaluate for name, contender in contenders.items()}, 3)
    results = {}
    for name in (name for name in ways if name in contenders):
        contender = contenders[name]
        epochs = [taken / contender.steps * STEPS / contender.models for taken in seconds[name]]
        evaluation = min(evaluations[name]) / contender.models * TEST_IMAGES / len(data.test_labels)
        results[name] = Result(epochs, evaluation, contender.steps, contender.stack, contender.peak_bytes)
    return results


def with_peak(device: torch.device, build: Callable[[], Contender]) -> Contender:
    """What `build` gives, with the GPU memory that it and one round take at most beyond what others hold."""
    free_memory(device)
    if device.type != "cuda":
        return build()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    contender = build()
    contender.run()
    return replace(contender, peak_bytes=torch.cuda.max_memory_allocated() - before)


def free_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def step_flops_per_image(width: int) -> int:
    """Operations (two a multiply-add) of a training step: three forward passes' worth."""
    network = initialised_network(ARCHITECTURE, width, SHAPE, 10, seed=0)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *SHAPE))
    return 3 * int(counter.get_total_flops())


def sweep_hours(results: Mapping[int, dict[str, Result]], name: str) -> float | None:
    """Hours of the whole sweep on this device, log-log between measured widths; None where those do not span it."""
    measured_widths = sorted(width for width, of_width in results.items() if name in of_width)
    if not measured_widths or measured_widths[0] > SWEEP_WIDTHS[0] or measured_widths[-1] < SWEEP_WIDTHS[-1]:
        return None
    per_epoch = [results[w][name].epoch + results[w][name].evaluation / EVALUATE_EVERY for w in measured_widths]
    seconds = np.exp(np.interp(np.log(SWEEP_WIDTHS), np.log(measured_widths), np.log(per_epoch)))
    return float(seconds.sum()) * SWEEP_MODELS_PER_WIDTH * SWEEP_EPOCHS / 3600


def report(results: Mapping[int, dict[str, Result]], device: torch.device, effort: Effort) -> str:
    """Everything measured, as Markdown."""
    names = list(dict.fromkeys(name for of_width in results.values() for name in of_width))
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    peak = next((value for chip, value in PEAK.items() if chip in kind), None)

    def table(cell: Callable[[int, dict[str, Result], str], str], columns: list[str]) -> str:
        rows = [
            [str(width), *(cell(width, of_width, name) if name in of_width else "-" for name in columns)]
            for width, of_width in results.items()
        ]
        return markdown(["width", *columns], rows)

    def details(width: int, of_width: dict[str, Result], name: str) -> str:
        result = of_width[name]
        parts = [f"{result.steps} steps"]
        if result.stack is not None:
            parts.append(f"stack {result.stack}")
        if peak is not None:
            parts.append(f"{100 * step_flops_per_image(width) * TRAIN_IMAGES / result.epoch / peak:.2g} %")
        if result.peak_bytes is not None:
            parts.append(f"{result.peak_bytes / 2**30:.2f} GiB")
        return ", ".join(parts)

    ours = [name for name in names if name != USUAL]
    precision = "the usual loop in float32, the others in bfloat16 autocast" if kind else "float32"
    hours = {name: hours for name in names if (hours := sweep_hours(results, name)) is not None}
    if kind and hours:
        projection = (
            "GPU-hours of the whole sweep (25 widths x 2 noise levels x 2 seeds x 4,000 epochs, a test evaluation "
            "every 10), widths between those measured by log-log interpolation:\n\n"
        ) + markdown(list(hours), [[f"{value:,.0f}" for value in hours.values()]])
    else:
        projection = "GPU-hours of the whole sweep: not projected without a GPU and widths from 1 to 64."
    return "\n\n".join(
        [
            f"## Double descent, {measured_on(device)}",
            f"Seconds per epoch and model, {precision}: medians of {effort.rounds} rounds in turn, scaled from the "
            f"steps of a round to the {STEPS} of 50,000 images.",
            table(lambda _, of_width, name: f"{of_width[name].epoch:.3g}", names),
            "Times faster per model than the usual loop, median (smallest to largest) over rounds:",
            table(lambda _, w, name: ratio_text(w[USUAL].epochs, w[name].epochs) if USUAL in w else "-", ours),
            "Times faster per model than one by one in eager mode:",
            table(
                lambda _, w, name: ratio_text(w[EAGER].epochs, w[name].epochs) if EAGER in w else "-",
                [name for name in (GRAPH, *COHORTS) if name in names],
            ),
            "Seconds per model of a test evaluation on 10,000 images:",
            table(lambda _, of_width, name: f"{of_width[name].evaluation:.3g}", names),
            "Steps of a round; members computed as one network (stack)"
            + ("; share of the chip's dense bfloat16 peak" if peak else "; share of the chip's peak: - (not known)")
            + ("; peak GPU memory, the choice of the stack included:" if kind else ":"),
            table(details, names),
            projection,
        ]
    )


def main() -> None:
    """Print the report, and append it to `--out`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    parser = argparse.ArgumentParser(description="Training cost of the double-descent sweep.")
    parser.add_argument("--widths", type=_widths, help="such as 1,2,4; unset: all on a GPU, 1,2,4,8 on a CPU")
    parser.add_argument("--quick", action="store_true", help="fewer widths, fewer and shorter rounds")
    parser.add_argument("--out", type=Path, help="file to append the tables to")
    arguments = parser.parse_args()
    as_a_worker()
    effort = Effort(3, 1.2, 10, STEPS, TEST_IMAGES) if on_gpu else Effort(5, 4.0, 2, 8, BATCH)
    widths = arguments.widths or _default_widths(on_gpu, arguments.quick)
    if arguments.quick:
        effort = replace(effort, rounds=2, seconds=effort.seconds / 3)
    data = random_dataset(SHAPE, min(TRAIN_IMAGES, effort.most_steps * BATCH), effort.test_images)
    results = {}
    for width in widths:
        results[width] = measured(width, data, device, effort)
        line = ", ".join(f"{name} {result.epoch:.3g} s" for name, result in results[width].items())
        print(f"width {width}: {line}", file=sys.stderr, flush=True)
        free_memory(device)
    text = report(results, device, effort)
    print(text)
    if arguments.out:
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


def _widths(text: str) -> tuple[int, ...]:
    widths = tuple(int(width) for width in text.split(","))
    if min(widths) < 1:
        raise argparse.ArgumentTypeError("widths are 1 or more")
    return widths


def _default_widths(on_gpu: bool, quick: bool) -> tuple[int, ...]:
    if on_gpu:
        return (1, 8, 64) if quick else WIDTHS
    return WIDTHS[:2] if quick else WIDTHS[:4]


if __name__ == "__main__":
    main()
