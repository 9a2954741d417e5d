"""How much faster per model is a cohort than training one by one?

    python tests/benchmarks/training.py [--quick] [--out FILE]

One epoch of the digits sweep (1,000 images, batch 128, Adam, test evaluation included) for a cohort of eight, for eight
cohorts of one, and for eight ordinary PyTorch loops (module, cross_entropy, backward, fused Adam; the images normalised
in advance, no history).

Milliseconds per model and epoch on one core, medians over rounds in turn; ratios are those of the rounds.
"""

import statistics
from collections.abc import Callable

import torch
from timing import CPU, alternating, as_a_worker, markdown, parser_of, ratio_text, report
from torch.nn import functional as F

from dbviz_ray.architectures import initialised_network
from dbviz_ray.config import ModelConfig
from dbviz_ray.config.sweep_files import load_sweep
from dbviz_ray.datasets import Dataset, load_dataset
from dbviz_ray.training.cohort import CohortTraining

MEMBERS = 8
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512)


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


def main() -> None:
    """Print the table, and append it to `--out`."""
    parser = parser_of(__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest widths and two rounds")
    chosen = parser.parse_args()
    as_a_worker()
    widths, rounds = (1, 2) if chosen.quick else (len(WIDTHS), 9)
    header = ["width", "cohort of 8", "one by one", "plain loop", "one by one / cohort", "plain loop / cohort"]
    digits = markdown(header, [digits_row(width, rounds) for width in WIDTHS[:widths]])
    text = (
        f"Milliseconds per epoch and model, medians of {rounds} rounds in turn; ratios: median (smallest to largest)."
    )
    report("Cohorts on one core", [text, digits], chosen.out)


if __name__ == "__main__":
    main()
