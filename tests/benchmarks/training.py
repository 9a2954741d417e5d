"""How much faster per model is a cohort than training one by one?

    python tests/benchmarks/training.py [--out FILE]

1. One epoch of the digits sweep (1,000 images, batch 128, Adam, test evaluation included) for a cohort of eight, for
   eight cohorts of one, and for eight ordinary PyTorch loops (module, cross_entropy, backward, fused Adam; the images
   normalised in advance, no history).
2. Eight steps (1,024 random 1x8x8 images, batch 128) of cohorts of six resnet18_width networks: computed as one,
   one after the other (`resources.stack=1`), and as chosen automatically: within 5 % of the better of the two.

Milliseconds per model and epoch on one core, medians over rounds in turn; ratios are those of the rounds.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from timing import alternating, as_a_worker, markdown, measured_on, models_of, random_dataset, ratio_text
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ModelConfig, ResourcesConfig, TrainingConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.training.cohort import CohortTraining

MEMBERS, STACKED_MEMBERS = 8, 6
WIDTHS, STACKED_WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512), (2, 4, 8, 16)
ROUNDS = 9
TOLERANCE = 1.05
"""What the automatic choice may take, relative to the better of one network and one by one."""
CPU = torch.device("cpu")


def ordinary_epochs(model: ModelConfig, data: Dataset) -> Callable[[], None]:
    """One more epoch of a textbook loop at each call, test evaluation included."""
    network = initialised_network(model.architecture, model.width, data.image_shape, 10, model.seeds.init)
    optimizer = torch.optim.Adam(network.parameters(), lr=model.training.learning_rate, fused=True)
    images, labels = data.normalised(data.train_images), data.train_labels
    test_images = data.normalised(data.test_images)

    def epoch() -> None:
        network.train()
        for batch in torch.randperm(len(labels)).split(model.training.batch_size):
            optimizer.zero_grad()
            F.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            network.eval()
            (network(test_images).argmax(1) != data.test_labels).float().mean()

    return epoch


def one_after_the_other(epochs: Sequence[Callable[[], None]]) -> Callable[[], None]:
    """All of them."""

    def run() -> None:
        for epoch in epochs:
            epoch()

    return run


def milliseconds(seconds: Sequence[float], members: int) -> str:
    """Median per model."""
    return f"{1e3 * statistics.median(seconds) / members:.2f}"


def digits_row(width: int) -> list[str]:
    """Fully connected networks of one width, on digits."""
    overrides = [f"grid.width=[{width}]", "training.epochs=1000", "training.evaluate_every=1"]
    sweep = load_sweep("double_descent_digits", overrides)
    data = load_dataset(sweep.dataset, "unused")
    models = sweep.models()[:MEMBERS]
    seconds = alternating(
        {
            "cohort": CohortTraining(models, data, CPU).run_epoch,
            "single": one_after_the_other([CohortTraining([model], data, CPU).run_epoch for model in models]),
            "plain": one_after_the_other([ordinary_epochs(model, data) for model in models]),
        },
        ROUNDS,
    )
    ratios = [ratio_text(seconds[name], seconds["cohort"]) for name in ("single", "plain")]
    return [str(width), *(milliseconds(times, MEMBERS) for times in seconds.values()), *ratios]


def stack_row(width: int) -> list[str]:
    """Cohorts of residual networks of one width, with every stack."""
    settings = TrainingConfig(epochs=1000, evaluate_every=1000, learning_rate=1e-4)
    models = models_of("resnet18_width", width, STACKED_MEMBERS, settings)
    data = random_dataset((1, 8, 8), 1024, 128)
    stacked, single = (
        CohortTraining(models, data, CPU, ResourcesConfig(stack=stack)) for stack in (STACKED_MEMBERS, 1)
    )
    chosen = CohortTraining(models, data, CPU)
    seconds = alternating(
        {"stacked": stacked.run_epoch, "single": single.run_epoch, "chosen": chosen.run_epoch}, ROUNDS
    )
    better = min(("stacked", "single"), key=lambda name: statistics.median(seconds[name]))
    kept = statistics.median(seconds["chosen"]) <= TOLERANCE * statistics.median(seconds[better])
    return [
        str(width),
        *(milliseconds(times, STACKED_MEMBERS) for times in seconds.values()),
        str(chosen.network.stack),
        ratio_text(seconds["single"], seconds["stacked"]),
        ratio_text(seconds["chosen"], seconds[better]),
        "yes" if kept else "no",
    ]


def main() -> None:
    """Print both tables, and append them to `--out`."""
    parser = argparse.ArgumentParser(description="Training in cohorts and one by one, on one core.")
    parser.add_argument("--out", type=Path, help="file to append the tables to")
    arguments = parser.parse_args()
    as_a_worker()
    times = ["cohort of 8", "one by one", "plain loop"]
    ratios = ["one by one / cohort", "plain loop / cohort"]
    digits = markdown(["width", *times, *ratios], [digits_row(width) for width in WIDTHS])
    header = ["width", "stack 6", "one by one", "automatic", "its stack", "one by one / stack 6"]
    header += ["automatic / better", "within 5 %"]
    stacks = markdown(header, [stack_row(width) for width in STACKED_WIDTHS])
    text = "\n\n".join(
        [
            f"## Cohorts on one core, {measured_on(CPU)}",
            f"Milliseconds per epoch and model, medians of {ROUNDS} rounds in turn; ratios: median (smallest to "
            "largest). Fully connected networks on digits:",
            digits,
            "Cohorts of 6 resnet18_width networks on 1,024 images of 1x8x8 pixels:",
            stacks,
        ]
    )
    print(text)
    if arguments.out:
        with arguments.out.open("a", encoding="utf-8") as file:
            file.write(f"\n{text}\n")


if __name__ == "__main__":
    main()
