"""How much faster per model is a cohort of eight than training one by one?

    python tests/benchmarks/training.py

One epoch of the digits sweep (1,000 images, batch 128, Adam, test evaluation included) on one core, for a cohort
of eight, for eight cohorts of one (the same code around an ordinary module), and for eight ordinary PyTorch loops
(module, cross_entropy, backward, fused Adam; the images normalised in advance, no history). Seconds per model and
ratios one by one / cohort, medians over rounds in turn.

2026-11-22, AMD EPYC 9005 (one core), Python 3.11.7, torch 2.14.1: see the table in README.md.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence

import torch
from timing import alternating, as_a_worker, ratio
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ModelConfig
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.sweep_files import load_sweep
from dbviz_ray.training import CohortTraining

MEMBERS = 8
ROUNDS = 9
CPU = torch.device("cpu")


def epochs_of(models: Sequence[ModelConfig], data: Dataset) -> Callable[[], None]:
    """One more epoch of a cohort at each call."""
    training = CohortTraining(models, data, CPU)
    return training.run_epoch


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


def main() -> None:
    """Print one line a width."""
    as_a_worker()
    print(
        f"{'width':>6} {'cohort of 8':>12} {'one by one':>11} {'plain loop':>11}   ratios (median, smallest, largest)"
    )
    for width in (2, 4, 8, 16, 32, 64, 128, 256, 512):
        sweep = load_sweep("double_descent_digits", [f"grid.width=[{width}]", "training.epochs=1000"])
        data = load_dataset(sweep.dataset, "unused")
        models = sweep.models()[:MEMBERS]
        cohort = epochs_of(models, data)
        single = [epochs_of([model], data) for model in models]
        plain = [ordinary_epochs(model, data) for model in models]
        seconds = alternating(
            {
                "cohort": cohort,
                "single": lambda runs=single: [run() for run in runs],
                "plain": lambda runs=plain: [run() for run in runs],
            },
            ROUNDS,
        )
        each = {name: 1e3 * statistics.median(times) / MEMBERS for name, times in seconds.items()}
        ratios = [ratio(seconds[name], seconds["cohort"]) for name in ("single", "plain")]
        text = "   ".join(f"{middle:.2f} ({low:.2f} to {high:.2f})" for middle, low, high in ratios)
        times = " ".join(f"{each[name]:>9.2f} ms" for name in seconds)
        print(f"{width:>6} {times}   {text}", flush=True)


if __name__ == "__main__":
    main()
