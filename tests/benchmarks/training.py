"""How much faster per model is a cohort than training one by one?

    python tests/benchmarks/training.py [--quick] [--out FILE]

1. One epoch of the digits sweep (1,000 images, batch 128, Adam, test evaluation included) for a cohort of eight, for
   eight cohorts of one, and for eight ordinary PyTorch loops (module, cross_entropy, backward, fused Adam; the images
   normalised in advance, no history).
2. Eight steps (1,024 random 1x8x8 images, batch 128) of cohorts of six resnet18_width networks: computed as one,
   one after the other (`resources.stack=1`), and as chosen automatically: within 5 % of the better of the two.

Milliseconds per model and epoch on one core, medians over rounds in turn; ratios are those of the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from timing import CPU, alternating, as_a_worker, markdown, models_of, parser_of, random_dataset, ratio_text, report
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ModelConfig, ResourcesConfig, TrainingConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.training.cohort import CohortTraining

MEMBERS, STACKED_MEMBERS = 8, 6
WIDTHS, STACKED_WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512), (2, 4, 8, 16)
TOLERANCE = 1.05
"""What the automatic choice may take, relative to the better of one network and one by one."""


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


def digits_row(width: int, rounds: int) -> list[str]:
    """Fully connected networks of one width, on digits."""
    overrides = [f"grid.width=[{width}]", "training.epochs=1000", "training.evaluate_every=1"]
    sweep = load_sweep("double_descent_digits", overrides)
    data = load_dataset(sweep.dataset, "unused")
    models = sweep.models()[:MEMBERS]
    single = [CohortTraining([model], data, CPU).run_epoch for model in models]
    plain = [ordinary_epochs(model, data) for model in models]
    work = {
        "cohort": CohortTraining(models, data, CPU).run_epoch,
        "single": lambda: [epoch() for epoch in single],
        "plain": lambda: [epoch() for epoch in plain],
    }
    seconds = alternating(work, rounds)
    times = [f"{1e3 * statistics.median(taken) / MEMBERS:.2f}" for taken in seconds.values()]
    return [str(width), *times, *(ratio_text(seconds[name], seconds["cohort"]) for name in ("single", "plain"))]


def stack_row(width: int, rounds: int) -> list[str]:
    """Cohorts of residual networks of one width, with every stack."""
    settings = TrainingConfig(epochs=1000, evaluate_every=1000, learning_rate=1e-4)
    models = models_of("resnet18_width", width, STACKED_MEMBERS, settings)
    data = random_dataset((1, 8, 8), 1024, 128)
    stacks = {"stacked": STACKED_MEMBERS, "single": 1, "chosen": None}
    trainings = {
        name: CohortTraining(models, data, CPU, ResourcesConfig(stack=stack)) for name, stack in stacks.items()
    }
    seconds = alternating({name: training.run_epoch for name, training in trainings.items()}, rounds)
    median = {name: statistics.median(taken) for name, taken in seconds.items()}
    better = min(("stacked", "single"), key=median.__getitem__)
    return [
        str(width),
        *(f"{1e3 * taken / STACKED_MEMBERS:.2f}" for taken in median.values()),
        str(trainings["chosen"].network.stack),
        ratio_text(seconds["single"], seconds["stacked"]),
        ratio_text(seconds["chosen"], seconds[better]),
        "yes" if median["chosen"] <= TOLERANCE * median[better] else "no",
    ]


def main() -> None:
    """Print both tables, and append them to `--out`."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest widths and two rounds")
    chosen = parser.parse_args()
    as_a_worker()
    widths, rounds = (1, 2) if chosen.quick else (len(WIDTHS), 9)
    header = ["width", "cohort of 8", "one by one", "plain loop", "one by one / cohort", "plain loop / cohort"]
    digits = markdown(header, [digits_row(width, rounds) for width in WIDTHS[:widths]])
    header = ["width", "stack 6", "one by one", "automatic", "its stack", "one by one / stack 6"]
    header += ["automatic / better", "within 5 %"]
    stacks = markdown(header, [stack_row(width, rounds) for width in STACKED_WIDTHS[:widths]])
    parts = [
        f"Milliseconds per epoch and model, medians of {rounds} rounds in turn; ratios: median (smallest to largest). "
        "Fully connected networks on digits:",
        digits,
        "Cohorts of 6 resnet18_width networks on 1,024 images of 1x8x8 pixels:",
        stacks,
    ]
    report("Cohorts on one core", parts, chosen.out)


if __name__ == "__main__":
    main()
