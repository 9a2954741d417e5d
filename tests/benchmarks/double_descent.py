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
import math
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import timing
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ResourcesConfig, TrainingConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.training.cohort import EVALUATION_BATCH, CohortTraining

ARCHITECTURE = "resnet18_width"
SHAPE = (3, 32, 32)
TRAIN_IMAGES, TEST_IMAGES, BATCH = 50_000, 10_000, 128
STEPS = -(-TRAIN_IMAGES // BATCH)
LEARNING_RATE, EPOCHS = 1e-4, 4000
WIDTHS = (1, 2, 4, 8, 10, 16, 20, 32, 64)

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


@dataclass
class Contender:
    """One way to train, and what was measured of it."""

    run: Callable[[], object]
    """Some steps of all its models."""
    evaluate: Callable[[], object]
    """Test logits of all its models on `Effort.test_images` images."""
    steps: int
    models: int = 1
    stack: int | None = None
    epochs: list[float] = field(default_factory=list)
    """Seconds per model of an epoch of 50,000 images, round by round, without evaluation."""
    evaluation: float = math.nan
    """Seconds per model of an evaluation of 10,000 images."""


@dataclass
class Pictures(torch.utils.data.Dataset[tuple[Any, int]]):
    """Images that become PIL images one by one, as torchvision's CIFAR10."""

    images: NDArray[np.uint8]
    labels: list[int]
    transform: Callable[[Any], Any]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.transform(Image.fromarray(self.images[index])), self.labels[index]


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
    steps = effort.steps(min(timing.seconds_of(lambda: step(images, labels)) for _ in range(3)))

    def loader(images: torch.Tensor, labels: torch.Tensor, layers: list[Any]) -> DataLoader[Any]:
        pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        pictures = Pictures(pixels, labels.tolist(), transforms.Compose(layers))
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
        epochs=EPOCHS,
        batch_size=BATCH,
        learning_rate=LEARNING_RATE,
        augmentation="crop_flip",
        precision="bfloat16" if device.type == "cuda" else "float32",
        evaluate_every=EPOCHS,
    )
    members = timing.models_of(ARCHITECTURE, width, models, settings)
    trial = CohortTraining(members, first_images(data, 2 * BATCH), device, ResourcesConfig(execution=execution))
    trial.run_epoch()  # captures
    steps = effort.steps(timing.seconds_of(trial.run_epoch) / 2)
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


def measured(width: int, data: Dataset, device: torch.device, effort: Effort) -> dict[str, Contender]:
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
            free_memory(device)
            contenders[name] = ways[name]()
        except torch.OutOfMemoryError as error:
            print(f"width {width}, {name}: {' '.join(str(error).split())}", file=sys.stderr)
    seconds = timing.alternating({name: contender.run for name, contender in contenders.items()}, effort.rounds)
    evaluations = timing.alternating({name: contender.evaluate for name, contender in contenders.items()}, 3)
    for name, contender in contenders.items():
        contender.epochs = [taken / contender.steps * STEPS / contender.models for taken in seconds[name]]
        contender.evaluation = min(evaluations[name]) / contender.models * TEST_IMAGES / len(data.test_labels)
    return {name: contenders[name] for name in ways if name in contenders}


def free_memory(device: torch.device) -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def tables(results: Mapping[int, dict[str, Contender]], device: torch.device, effort: Effort) -> list[str]:
    """Everything measured, as Markdown."""
    names = list(dict.fromkeys(name for of_width in results.values() for name in of_width))

    def table(cell: Callable[[dict[str, Contender], str], str], columns: list[str]) -> str:
        rows = [
            [str(width), *(cell(of_width, name) if name in of_width else "-" for name in columns)]
            for width, of_width in results.items()
        ]
        return timing.markdown(["width", *columns], rows)

    def times_faster_than(slower: str) -> Callable[[dict[str, Contender], str], str]:
        return lambda of, name: timing.ratio_text(of[slower].epochs, of[name].epochs) if slower in of else "-"

    def details(of_width: dict[str, Contender], name: str) -> str:
        contender = of_width[name]
        return f"{contender.steps} steps" + (f", stack {contender.stack}" if contender.stack else "")

    precision = "the usual loop in float32, the others in bfloat16 autocast" if device.type == "cuda" else "float32"
    return [
        f"Seconds per epoch and model, {precision}: medians of {effort.rounds} rounds in turn, scaled from the steps "
        f"of a round to the {STEPS} of 50,000 images.",
        table(lambda of_width, name: f"{statistics.median(of_width[name].epochs):.3g}", names),
        "Times faster per model than the usual loop, median (smallest to largest) over rounds:",
        table(times_faster_than(USUAL), [name for name in names if name != USUAL]),
        "Times faster per model than one by one in eager mode:",
        table(times_faster_than(EAGER), [name for name in (GRAPH, *COHORTS) if name in names]),
        "Seconds per model of a test evaluation on 10,000 images:",
        table(lambda of_width, name: f"{of_width[name].evaluation:.3g}", names),
        "Steps of a round; members computed as one network (stack):",
        table(details, names),
    ]


def main() -> None:
    """Print the tables, and append them to `--out`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = device.type == "cuda"
    parser = timing.parser_of(__doc__)
    parser.add_argument("--widths", type=_widths, help="such as 1,2,4; unset: all on a GPU, 1,2,4,8 on a CPU")
    parser.add_argument("--quick", action="store_true", help="fewer widths, fewer and shorter rounds")
    chosen = parser.parse_args()
    timing.as_a_worker()
    effort = Effort(3, 1.2, 10, STEPS, TEST_IMAGES) if on_gpu else Effort(5, 4.0, 2, 8, BATCH)
    if chosen.quick:
        effort = replace(effort, rounds=2, seconds=effort.seconds / 3)
    data = timing.random_dataset(SHAPE, min(TRAIN_IMAGES, effort.most_steps * BATCH), effort.test_images)
    results = {}
    for width in chosen.widths or _default_widths(on_gpu, chosen.quick):
        results[width] = measured(width, data, device, effort)
        line = ", ".join(f"{name} {statistics.median(way.epochs):.3g} s" for name, way in results[width].items())
        print(f"width {width}: {line}", file=sys.stderr, flush=True)
        free_memory(device)
    timing.report("Double descent", tables(results, device, effort), chosen.out, device)


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
