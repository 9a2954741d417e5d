"""How often do verdicts on real trainings err, and how often do they find the peak of double descent?

    python tests/benchmarks/peaks.py [--repetitions 500] [--population FOLDER] [--out FILE]

The population: 120 trainings of each width of double_descent_digits with 20 % label noise, on 100 planes of 20 x 20
points; trained at the first start, into FOLDER. A repetition draws some of them for each width.
- False alarms of the test of a peak: all widths are really one (32 or 512), whose trainings are dealt into 6, 13 or 25
  fake widths ("flat"), after a first or before a last real step; "falling": the real widths 32 to 512.
- Power: the real 13 widths. Place: how often its interval holds the highest mean of all 120 trainings.
- Simulated CIFAR-10: 25 widths, 10,000 images, a rise of 8 points from width 5 to 10.
- Two groups: trainings of one width dealt into two; coverage of one group's interval of the mean of all.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

from dbviz_ray.analysis.scores.agreement import agreement
from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.analysis.statistics import peaks
from dbviz_ray.analysis.statistics.estimates import Estimate, difference, mean_estimate, pair_estimate
from dbviz_ray.analysis.statistics.intervals import interval_of, p_value

WIDTHS = (2, 4, 8, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512)
TRAININGS, PLANES, SIDE = 120, 100, 20
DRAWS = 1000
REAL = "the real 13 widths"
SIGNS = {"test_error": 1, "reproducibility": -1, "fragmentation": 1}
Scores = dict[str, NDArray[np.float64]]


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


def scores_of(width: int, folder: Path) -> Scores:
    """Errors `[trainings, images]`, agreement `[planes, trainings, trainings]`, regions `[trainings, planes]`."""
    if not (folder / f"{width}.npz").exists():
        train(width, folder)
    stored = np.load(folder / f"{width}.npz")
    maps = stored["maps"]
    return {
        "test_error": (stored["predictions"] != stored["labels"]).astype(float),
        "reproducibility": agreement(maps.reshape(*maps.shape[:2], -1)),
        "fragmentation": np.stack([regions_of(of, 0.01).fragmentation for of in maps]).astype(float),
    }


def estimate(scores: Scores, score: str, chosen: NDArray[np.intp]) -> Estimate:
    """Of some trainings, as the analysis makes it."""
    if score != "reproducibility":
        return mean_estimate(scores[score][chosen])
    same = scores[score][:, chosen[:, None], chosen]
    pairs = same[:, *np.triu_indices(len(chosen), 1)]
    return pair_estimate(same.mean(axis=0), pairs.mean(axis=1), on_items=same)


def truth(scores: Scores, score: str) -> float:
    """Of all trainings."""
    return estimate(scores, score, np.arange(TRAININGS)).value


def curve(generator: np.random.Generator, widths: Sequence[Scores], score: str, seeds: int) -> list[Estimate]:
    """Different trainings for each width."""
    order = generator.permutation(TRAININGS)
    drawn = [generator.permutation(TRAININGS)[:seeds] for _ in widths]
    if all(width is widths[1] for width in widths[1:-1]):  # fake widths share no training
        drawn = [order[seeds * place : seeds * (place + 1)] for place in range(len(widths))]
    return [estimate(width, score, chosen) for width, chosen in zip(widths, drawn, strict=True)]


def cifar(generator: np.random.Generator, seeds: int) -> list[Estimate]:
    """Images are wrong or right with a hardness of their own; a training moves all of them a little."""
    levels = np.interp(np.arange(25), [0, 4, 9, 24], [0.45, 0.2, 0.28, 0.12])
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
    of = {width: scores_of(width, chosen.population) for width in WIDTHS}
    kinds = {
        **{f"flat, {n} fake widths of {w}": [of[w]] * n for w in (32, 512) for n in (6, 13, 25)},
        "13 fake widths of 32 after a step": [of[4], *[of[32]] * 12],
        "13 fake widths of 32 before a step": [*[of[32]] * 12, of[512]],
        "falling: 32 to 512": [of[width] for width in WIDTHS[7:]],
        REAL: [of[width] for width in WIDTHS],
    }
    rows, places, groups = [], [], []
    for number, (name, widths) in enumerate(kinds.items()):
        for score, sign in SIGNS.items():
            row = [name, score]
            highest = peaks.place_of_peak(sign * np.array([truth(width, score) for width in widths])) or 0
            for seeds in (2, 3, 4):
                generator = np.random.default_rng([number, seeds])
                curves = (curve(generator, widths, score, seeds) for _ in range(repetitions))
                share, intervals = share_found(generator, list(curves), sign)
                row.append("-" if not intervals else f"{share:.1f}")
                if name == REAL and intervals:
                    held = np.mean([low <= highest <= high for low, high in intervals])
                    size = np.mean([high - low + 1 for low, high in intervals])
                    places.append([score, str(seeds), str(WIDTHS[highest]), f"{100 * held:.1f}", f"{size:.1f}"])
            rows.append(row)
            print(row, file=sys.stderr, flush=True)
    row = ["simulated CIFAR-10", "test_error"]
    for seeds in (2, 3, 4):
        generator = np.random.default_rng([99, seeds])
        row.append(f"{share_found(generator, [cifar(generator, seeds) for _ in range(repetitions // 5)], 1)[0]:.1f}")
    rows.append(row)
    for width in (8, 32, 512):
        for score in SIGNS:
            cells = [str(width), score]
            for seeds in (2, 3, 4):
                generator = np.random.default_rng([width, seeds])
                tested, held = [], []
                for _ in range(2 * repetitions):
                    order = generator.permutation(TRAININGS)
                    one, other = (estimate(of[width], score, order[side : 2 * seeds : 2]) for side in (0, 1))
                    tested.append(p_value(difference(one, other)))
                    interval = interval_of(one)
                    held.append(interval.low <= truth(of[width], score) <= interval.high)
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
            markdown(["width", "score", *head], groups),
        ],
        chosen.out,
    )


if __name__ == "__main__":
    main()
