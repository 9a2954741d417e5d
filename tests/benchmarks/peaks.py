"""How often do verdicts on real trainings err, and how often do they find the peak of double descent?

    python tests/benchmarks/peaks.py [--repetitions 500] [--population FOLDER] [--out FILE]

The population: 120 trainings of each width of double_descent_digits with 20 % label noise, on 400 planes of 20 x 20
points; trained at the first start, into FOLDER. A repetition draws some of them for each width, and 200 planes and 797
images for all widths, with replacement: they are samples too, and the truth is the mean over all.
- False alarms of the test of a peak: all widths are really one (32 or 512), whose trainings are dealt into 6, 13 or 25
  fake widths ("flat"), after a first or before a last real step; "falling": the real widths 32 to 512.
- Power: the real 13 widths. Place: how often its interval holds the highest mean of all 120 trainings.
- Simulated CIFAR-10: 25 widths, 10,000 images, a rise of 8 points from width 5 to 10, or none.
- Two groups: trainings of one width dealt into two; coverage of one group's interval of the mean of all.
"""

import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

from dbviz_ray.analysis.scores.agreement import agreement, capa, capa_by_item
from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.analysis.statistics import peaks
from dbviz_ray.analysis.statistics.estimates import Estimate, difference, mean_estimate, pair_estimate
from dbviz_ray.analysis.statistics.intervals import interval_of, p_value

WIDTHS = (2, 4, 8, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512)
TRAININGS, PLANES, SIDE = 120, 400, 20
DRAWS = 1000
REAL = "the real 13 widths"
GROUP_SIZES = (2, 3, 4, 5, 8)
PLANES_DRAWN = {"reproducibility": 200, "fragmentation": 200}  # as in the sweep
SIGNS = {"test_error": 1, "reproducibility": -1, "fragmentation": 1}
Scores = dict[str, NDArray[Any]]


def train(width: int, folder: Path) -> None:
    """Predictions on test images and label maps of the trainings of one width."""
    import torch

    from dbviz_ray.architectures import initialised_network
    from dbviz_ray.config import PlaneSetConfig
    from dbviz_ray.config.sweep_files import load_sweep
    from dbviz_ray.datasets import load_dataset
    from dbviz_ray.evaluation.label_maps import label_maps
    from dbviz_ray.planes import draw_planes
    from dbviz_ray.training.cohort import train_cohort

    grid = [f"grid.seed={list(range(TRAININGS))}", "grid.label_noise=[0.2]", f"grid.width=[{width}]"]
    sweep, cpu = load_sweep("double_descent_digits", grid), torch.device("cpu")
    data = load_dataset(sweep.dataset, str(folder))
    config = PlaneSetConfig(images="test", classes="different", count=PLANES, resolution=SIDE)
    planes = draw_planes(data.normalised(data.test_images).float(), data.test_labels, config)
    predictions, maps = [], []
    for first in range(0, TRAININGS, 24):
        for trained in train_cohort(sweep.models()[first : first + 24], data, cpu):
            model = trained.config
            network = initialised_network(model.architecture, width, data.image_shape, 10, model.seeds.init)
            network.load_state_dict(trained.weights)
            maps.append(label_maps(network.eval(), planes, cpu).numpy())
            predictions.append(trained.predictions["test"].numpy())
    labels = data.test_labels.numpy()
    np.savez_compressed(folder / f"{width}.npz", predictions=np.stack(predictions), maps=np.stack(maps), labels=labels)


@functools.cache
def population(width: int, folder: Path) -> Scores:
    """Errors `[trainings, images]`, regions `[trainings, planes]`, agreement `[items, trainings, trainings]`."""
    if not (folder / f"{width}.npz").exists():
        train(width, folder)
    stored = np.load(folder / f"{width}.npz")
    maps, predicted = stored["maps"], stored["predictions"].astype(np.uint8)
    wrong = predicted != stored["labels"]
    return {
        "test_error": wrong.astype(np.float32),
        "reproducibility": agreement(maps.reshape(*maps.shape[:2], -1)).astype(np.float32),
        "fragmentation": np.stack([regions_of(of, 0.01).fragmentation for of in maps]).astype(np.float32),
        "agreement_on_test_images": (predicted.T[:, :, None] == predicted.T[:, None]).astype(np.float32),
        "capa": predicted,
        "wrong": wrong,
    }


def estimate(scores: Scores, score: str, trainings: NDArray[np.intp], items: NDArray[np.intp]) -> Estimate:
    """Of some trainings on some items, as the analysis makes it."""
    values = scores[score]
    if score in ("test_error", "fragmentation"):
        return mean_estimate(values[trainings[:, None], items].astype(float))
    if score == "capa":
        predicted, wrong = (scores[name][trainings[:, None], items] for name in ("capa", "wrong"))
        by_pair, same = capa(agreement(predicted[:, None])[0], wrong, 10), capa_by_item(predicted, wrong, 10)
    else:
        same = values[items[:, None, None], trainings[:, None], trainings].astype(float)
        by_pair = same.mean(axis=0)
    pairs = same[:, *np.triu_indices(len(trainings), 1)]
    return pair_estimate(by_pair, pairs.mean(axis=1), on_items=same)


def items_of(scores: Scores, score: str, generator: np.random.Generator) -> NDArray[np.intp]:
    """A sample of planes or images."""
    known = scores["fragmentation" if score in PLANES_DRAWN else "test_error"].shape[1]
    return generator.integers(0, known, PLANES_DRAWN.get(score, known))


@functools.cache
def truth(width: int, folder: Path, score: str) -> float:
    """Of all trainings on all planes or images."""
    scores, every = population(width, folder), np.arange(TRAININGS)
    if score == "capa":
        beyond = capa(agreement(scores["capa"][:, None])[0], scores["wrong"], 10)
        return float(beyond[np.triu_indices(TRAININGS, 1)].mean())
    values = scores[score].mean(axis=1 if score in ("test_error", "fragmentation") else 0, dtype=float)
    return float(values.mean() if values.ndim == 1 else values[np.triu_indices(len(every), 1)].mean())


def curve(generator: np.random.Generator, widths: Sequence[Scores], score: str, seeds: int) -> list[Estimate]:
    """Different trainings for each width, the same items for all."""
    order, items = generator.permutation(TRAININGS), items_of(widths[0], score, generator)
    drawn = [generator.permutation(TRAININGS)[:seeds] for _ in widths]
    if all(width is widths[1] for width in widths[1:-1]):  # fake widths share no training
        drawn = [order[seeds * place : seeds * (place + 1)] for place in range(len(widths))]
    return [estimate(width, score, chosen, items) for width, chosen in zip(widths, drawn, strict=True)]


def cifar(generator: np.random.Generator, seeds: int, peak: float) -> list[Estimate]:
    """Images are wrong or right with a hardness of their own; a training moves all of them a little."""
    levels = np.interp(np.arange(25), [0, 4, 9, 24], [0.45, 0.2, peak, 0.12])
    hard = generator.normal(size=10_000)
    wanted = [np.quantile(hard, 1 - level) for level in levels]
    noise = generator.normal(size=(25, seeds, 1)) * 0.02
    return [
        mean_estimate((hard + own + 0.5 * generator.normal(size=(seeds, 10_000)) > 1.118 * at).astype(float))
        for at, own in zip(wanted, noise, strict=True)
    ]


def share_found(generator: np.random.Generator, curves: Sequence[list[Estimate]], sign: int) -> tuple[float, list[int]]:
    """In how many percent p < 0.05; the places that each interval holds are returned as (low, high)."""
    found = [peaks.find_peak(each, generator, sign) for each in curves]
    alarms = [peak is not None and peak.p_value < 0.05 for peak in found]
    return 100 * float(np.mean(alarms)), [peak.interval for peak in found if peak and peak.interval]


def main() -> None:
    """Print Markdown tables in percent, and append them to `--out`."""
    from timing import markdown, parser_of, report  # which tests cannot import, and do not need

    parser = parser_of(__doc__)
    parser.add_argument("--repetitions", type=int, default=500)
    parser.add_argument("--population", type=Path, default=Path("population"))
    chosen = parser.parse_args()
    peaks.DRAWS, repetitions = DRAWS, chosen.repetitions
    chosen.population.mkdir(exist_ok=True)
    of = {width: population(width, chosen.population) for width in WIDTHS}
    kinds: dict[str, list[int]] = {
        **{f"flat, {n} fake widths of {w}": [w] * n for w in (32, 512) for n in (6, 13, 25)},
        "13 fake widths of 32 after a step": [4, *[32] * 12],
        "13 fake widths of 32 before a step": [*[32] * 12, 512],
        "falling: 32 to 512": list(WIDTHS[7:]),
        REAL: list(WIDTHS),
    }
    rows, places, groups = [], [], []
    for number, (name, widths) in enumerate(kinds.items()):
        for score, sign in SIGNS.items():
            row = [name, score]
            means = sign * np.array([truth(width, chosen.population, score) for width in widths])
            highest = peaks.place_of_peak(means) or 0
            for seeds in (2, 3, 4):
                generator = np.random.default_rng([number, seeds])
                curves = (curve(generator, [of[w] for w in widths], score, seeds) for _ in range(repetitions))
                share, intervals = share_found(generator, list(curves), sign)
                row.append("-" if not intervals else f"{share:.1f}")
                if name == REAL and intervals:
                    held = np.mean([low <= highest <= high for low, high in intervals])
                    size = np.mean([high - low + 1 for low, high in intervals])
                    places.append([score, str(seeds), str(WIDTHS[highest]), f"{100 * held:.1f}", f"{size:.1f}"])
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    for kind, peak in (("with a peak", 0.28), ("without", 0.2)):
        row = [f"simulated CIFAR-10 {kind}", "test_error"]
        for seeds in (2, 3, 4):
            generator = np.random.default_rng([99, seeds])
            simulated = [cifar(generator, seeds, peak) for _ in range(repetitions // 5)]
            row.append(f"{share_found(generator, simulated, 1)[0]:.1f}")
        rows.append(row)
    for width in (8, 32, 512):
        for score in (*SIGNS, "agreement_on_test_images", "capa"):
            cells = [str(width), score]
            for seeds in GROUP_SIZES:
                generator = np.random.default_rng([width, seeds])
                tested, held = [], []
                for _ in range(2 * repetitions):
                    order, items = generator.permutation(TRAININGS), items_of(of[width], score, generator)
                    sides = (order[side : 2 * seeds : 2] for side in (0, 1))
                    one, other = (estimate(of[width], score, side, items) for side in sides)
                    tested.append(p_value(difference(one, other)))
                    interval = interval_of(one)
                    held.append(interval.low <= truth(width, chosen.population, score) <= interval.high)
                alarms = "-" if np.isnan(tested).all() else f"{100 * np.mean(np.array(tested) < 0.05):.1f}"
                cells.append(f"{alarms} ({100 * np.mean(held):.1f})")
            groups.append(cells)
    head = [f"{seeds} seeds" for seeds in (2, 3, 4)]
    report(
        "Peaks and verdicts on real trainings",
        [
            f"How often, in percent of {repetitions} repetitions ({repetitions // 5} of CIFAR-10), the test of a peak "
            f"says p < 0.05 ({DRAWS} draws); -: no test.",
            markdown(["curve", "score", *head], rows),
            "How often the interval of the place holds the true one, and how many widths it holds:",
            markdown(["score", "seeds", "true width", "held", "widths"], places),
            "Trainings of one width dealt into two groups: p < 0.05 (in brackets: one's interval holds the truth):",
            markdown(["width", "score", *(f"{seeds} seeds" for seeds in GROUP_SIZES)], groups),
        ],
        chosen.out,
    )


if __name__ == "__main__":
    main()
