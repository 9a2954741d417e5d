"""What does training for the double-descent sweep cost: the usual loop, one by one, and in cohorts?

    python tests/benchmarks/double_descent.py [--widths 1 2 4 ...] [--quick] [--out FILE]

For a bare machine: wants torch, torchvision, pydantic, safetensors, pyarrow and PyYAML, no Ray and no data. Random
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

import gc
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
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
from dbviz_ray.training.cohort import CohortTraining

ARCHITECTURE = "resnet18_width"
SHAPE = (3, 32, 32)
TRAIN_IMAGES, BATCH = 50_000, 128
STEPS = -(-TRAIN_IMAGES // BATCH)
LEARNING_RATE, EPOCHS = 1e-4, 4000
WIDTHS = (1, 2, 4, 8, 10, 16, 20, 32, 64)
USUAL, EAGER, GRAPH = "usual loop", "one by one, eager", "one by one, CUDA graph"
COHORTS = {"cohort of 4": 4, "cohort of 8": 8}
WAYS = (USUAL, EAGER, GRAPH, *COHORTS)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE.type == "cuda"


@dataclass(frozen=True)
class Effort:
    """How much is measured: a round aims at `seconds`."""

    rounds: int
    seconds: float
    fewest_steps: int
    most_steps: int

    def steps(self, step_seconds: float) -> int:
        """Steps of a round."""
        return max(self.fewest_steps, min(self.most_steps, int(self.seconds / step_seconds)))


@dataclass
class Contender:
    """One way to train: `run` takes `steps` of all its models."""

    run: Callable[[], object]
    steps: int
    models: int = 1
    stack: int | None = None


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


def first_steps(data: Dataset, steps: int) -> Dataset:
    """`data` with the training images of some steps."""
    count = steps * BATCH
    return replace(data, train_images=data.train_images[:count], train_labels=data.train_labels[:count])


def usual_loop(width: int, data: Dataset, effort: Effort) -> Contender:
    """A textbook script."""
    network = initialised_network(ARCHITECTURE, width, SHAPE, 10, seed=0).to(DEVICE)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    layers = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    layers += [transforms.ToTensor(), transforms.Normalize(data.mean, data.deviation)]

    def step(images: torch.Tensor, labels: torch.Tensor) -> float:
        images, labels = images.to(DEVICE), labels.to(DEVICE)
        optimizer.zero_grad()
        loss = F.cross_entropy(network(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    network.train()
    first = data.normalised(data.train_images[:BATCH]), data.train_labels[:BATCH]
    step(*first)
    steps = effort.steps(min(timing.seconds_of(lambda: step(*first)) for _ in range(3)))
    seen = first_steps(data, steps)
    images = seen.train_images.permute(0, 2, 3, 1).contiguous().numpy()
    pictures = Pictures(images, seen.train_labels.tolist(), transforms.Compose(layers))
    # Persistent, so that starting workers is not multiplied where a round is less than an epoch.
    train = DataLoader(pictures, BATCH, shuffle=True, num_workers=2, persistent_workers=True)

    def run() -> None:
        for batch in train:
            step(*batch)

    return Contender(run, steps)


def in_cohort(
    width: int, data: Dataset, effort: Effort, models: int, execution: Literal["auto", "eager"] = "auto"
) -> Contender:
    """A cohort with automatic stack, which is chosen on two steps' images and then kept."""
    settings = TrainingConfig(
        epochs=EPOCHS, batch_size=BATCH, learning_rate=LEARNING_RATE, augmentation="crop_flip",
        precision="bfloat16" if ON_GPU else "float32", evaluate_every=EPOCHS,
    )  # fmt: skip
    members = timing.models_of(ARCHITECTURE, width, models, settings)
    trial = CohortTraining(members, first_steps(data, 2), DEVICE, ResourcesConfig(execution=execution))
    trial.run_epoch()  # captures
    steps, stack = effort.steps(timing.seconds_of(trial.run_epoch) / 2), trial.network.stack
    del trial
    free_memory()
    resources = ResourcesConfig(stack=stack, execution=execution)
    training = CohortTraining(members, first_steps(data, steps), DEVICE, resources)
    return Contender(training.run_epoch, steps, models, stack)


def free_memory() -> None:
    """Give back what nothing refers to any more."""
    gc.collect()
    if ON_GPU:
        torch.cuda.empty_cache()


def measured(width: int, data: Dataset, effort: Effort) -> dict[str, list[str]]:
    """The cells of a row of each table, by its heading; a way that does not fit into the memory is left out."""
    # The largest first, which finds the most memory.
    ways = {name: partial(in_cohort, models=count) for name, count in reversed(COHORTS.items())}
    ways |= {GRAPH: partial(in_cohort, models=1)} if ON_GPU else {}
    ways |= {EAGER: partial(in_cohort, models=1, execution="eager"), USUAL: usual_loop}
    found: dict[str, Contender] = {}
    for name, way in ways.items():
        try:
            free_memory()
            found[name] = way(width, data, effort)
        except torch.OutOfMemoryError as error:
            print(f"width {width}, {name}: {' '.join(str(error).split())}", file=sys.stderr)
    epochs = timing.alternating({name: of.run for name, of in found.items()}, effort.rounds)
    for name, of in found.items():
        epochs[name] = [seconds / of.steps * STEPS / of.models for seconds in epochs[name]]

    def faster_than(slower: str) -> Callable[[str], str]:
        return lambda name: timing.ratio_text(epochs[slower], epochs[name]) if slower in found else "-"

    cells: dict[str, Callable[[str], str]] = {
        f"Seconds per epoch and model: medians of {effort.rounds} rounds, scaled to the {STEPS} steps of 50,000 images":
            lambda name: f"{statistics.median(epochs[name]):.3g}",
        "Times faster per model than the usual loop, median (smallest to largest) over rounds":
            faster_than(USUAL),
        "Times faster per model than one by one in eager mode": faster_than(EAGER),
        "Steps of a round; members computed as one network (stack)":
            lambda name: f"{found[name].steps} steps, stack {found[name].stack or 1}",
    }  # fmt: skip
    return {text: [cell(name) if name in found else "-" for name in WAYS] for text, cell in cells.items()}


def main() -> None:
    """Print the tables, and append them to `--out`."""
    parser = timing.parser_of(__doc__)
    parser.add_argument("--widths", type=int, nargs="+", help="unset: all on a GPU, 1 2 4 8 on a CPU")
    parser.add_argument("--quick", action="store_true", help="fewer widths, fewer and shorter rounds")
    chosen = parser.parse_args()
    timing.as_a_worker()
    effort = Effort(3, 1.2, 10, STEPS) if ON_GPU else Effort(5, 4.0, 2, 8)
    if chosen.quick:
        effort = replace(effort, rounds=2, seconds=effort.seconds / 3)
    data = timing.random_dataset(SHAPE, min(TRAIN_IMAGES, effort.most_steps * BATCH), test=BATCH)
    usual = ((1, 8, 64) if ON_GPU else WIDTHS[:2]) if chosen.quick else WIDTHS if ON_GPU else WIDTHS[:4]
    rows: dict[str, list[list[str]]] = {}
    for width in chosen.widths or usual:
        for text, cells in measured(width, data, effort).items():
            rows.setdefault(text, []).append([str(width), *cells])
        print(f"width {width} is measured", file=sys.stderr, flush=True)
        free_memory()
    precision = "The usual loop in float32, the others in bfloat16 autocast" if ON_GPU else "In float32"
    header = ["width", *WAYS]
    tables = [f"{text}:\n\n{timing.markdown(header, of)}" for text, of in rows.items()]
    timing.report("Double descent", [f"{precision}.", *tables], chosen.out, DEVICE)


if __name__ == "__main__":
    main()
