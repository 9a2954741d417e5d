"""How often do verdicts on real trainings err, and how often do they find the peak of double descent?

    python -m dbviz_ray.sweep double_descent_digits --stages train,evaluate --out RUN grid.seed=[0,...,119] \\
        grid.label_noise=[0.2] margins=null \\
        'planes={test: {images: test, classes: different, count: 400, resolution: 20}}'
    python tests/benchmarks/peaks.py RUN [--repetitions 300] [--out FILE]

A repetition draws some of the 120 trainings of each width, and 200 planes and 797 images for all widths, with
replacement: they are samples too, and the truth is the mean over all.
- False alarms of the test of a peak: all widths are really one (32 or 512), whose trainings are dealt into 6, 13 or 25
  fake widths ("flat"), after a first or before a last real step; "falling": the real widths 32 to 512.
- Power: the real 13 widths. Place: how often its interval holds the highest mean of all 120 trainings.
- Simulated CIFAR-10: 25 widths, 10,000 images, a rise of 8 points from width 5 to 10, or none.
"""

import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from coverage import PLANES, Places, Population
from numpy.typing import NDArray
from timing import markdown, parser_of, report

from dbviz_ray.analysis.scores.agreement import agreement
from dbviz_ray.analysis.scores.regions import regions_of
from dbviz_ray.analysis.statistics import peaks
from dbviz_ray.analysis.statistics.estimates import Estimate, mean_estimate, pair_estimate

WIDTHS = (2, 4, 8, 12, 16, 20, 24, 32, 48, 64, 128, 256, 512)
TRAININGS = 120
DRAWS = 1000
REAL = "the real 13 widths"
SIGNS = {"test_error": 1, "reproducibility": -1, "fragmentation": 1}
Scores = dict[str, NDArray[Any]]
Curve = tuple[list[Estimate], peaks.Pairs | None]


def values_of(width: int, run: Path) -> Scores:
    """Errors `[trainings, images]`, regions `[trainings, planes]`, label maps `[trainings, planes, points]`."""
    population = Population(run, width)
    maps = population.maps
    return {
        "test_error": population.predictions.test_wrong.astype(np.float32),
        "reproducibility": maps.reshape(*maps.shape[:2], -1),
        "fragmentation": np.stack([regions_of(of, 0.01).fragmentation for of in maps]).astype(np.float32),
    }


def curve_of(widths: Sequence[Scores], score: str, drawn: Sequence[Places], items: Places) -> Curve:
    """Of some trainings of each width on some items, as the analysis makes it."""
    values = [width[score][chosen[:, None], items] for width, chosen in zip(widths, drawn, strict=True)]
    if score != "reproducibility":
        return [mean_estimate(of.astype(float)) for of in values], None
    same = agreement(np.concatenate(values))
    ends = np.cumsum([0, *map(len, drawn)])
    of_widths = [np.arange(first, last) for first, last in pairwise(ends)]
    estimates = []
    for own in of_widths:
        each = same[:, own[:, None], own]
        pairs = each[:, *np.triu_indices(len(own), 1)]
        estimates.append(pair_estimate(each.mean(axis=0), pairs.mean(axis=1), on_items=each))
    mean = same.mean(axis=0)
    return estimates, peaks.Pairs([mean[np.ix_(*of)] for of in pairwise(of_widths)])


def curve(generator: np.random.Generator, widths: Sequence[Scores], score: str, seeds: int) -> Curve:
    """Different trainings for each width, the same items for all."""
    order, known = generator.permutation(TRAININGS), widths[0][score].shape[1]
    items = generator.integers(0, known, known if score == "test_error" else PLANES)
    drawn = [generator.permutation(TRAININGS)[:seeds] for _ in widths]
    if all(width is widths[1] for width in widths[1:-1]):  # fake widths share no training
        drawn = [order[seeds * place : seeds * (place + 1)] for place in range(len(widths))]
    return curve_of(widths, score, drawn, items)


def cifar(generator: np.random.Generator, seeds: int, peak: float) -> Curve:
    """Images are wrong or right with a hardness of their own; a training moves all of them a little."""
    levels = np.interp(np.arange(25), [0, 4, 9, 24], [0.45, 0.2, peak, 0.12])
    hard = generator.normal(size=10_000)
    wanted = [np.quantile(hard, 1 - level) for level in levels]
    noise = generator.normal(size=(25, seeds, 1)) * 0.02
    return [
        mean_estimate((hard + own + 0.5 * generator.normal(size=(seeds, 10_000)) > 1.118 * at).astype(float))
        for at, own in zip(wanted, noise, strict=True)
    ], None


def share_found(
    generator: np.random.Generator, curves: Iterable[Curve], sign: int
) -> tuple[float, list[tuple[int, int]]]:
    """In how many percent p < 0.05; the first and last place that each interval holds."""
    found = [peaks.find_peak(estimates, generator, sign, pairs) for estimates, pairs in curves]
    alarms = [peak is not None and peak.p_value < 0.05 for peak in found]
    return 100 * float(np.mean(alarms)), [peak.interval for peak in found if peak and peak.interval]


def main() -> None:
    """Print Markdown tables in percent, and append them to `--out`."""
    parser = parser_of(__doc__, repetitions=300)
    parser.add_argument("run", type=Path)
    chosen = parser.parse_args()
    peaks.DRAWS, repetitions = DRAWS, chosen.repetitions
    of = {width: values_of(width, chosen.run) for width in WIDTHS}
    kinds: dict[str, list[int]] = {
        **{f"flat, {n} fake widths of {w}": [w] * n for w in (32, 512) for n in (6, 13, 25)},
        "13 fake widths of 32 after a step": [4, *[32] * 12],
        "13 fake widths of 32 before a step": [*[32] * 12, 512],
        "falling: 32 to 512": list(WIDTHS[7:]),
        REAL: list(WIDTHS),
    }
    rows, places = [], []
    for number, (name, widths) in enumerate(kinds.items()):
        for score, sign in SIGNS.items():
            row = [name, score]
            for seeds in (2, 3, 4):
                generator = np.random.default_rng([number, seeds])
                curves = (curve(generator, [of[w] for w in widths], score, seeds) for _ in range(repetitions))
                share, intervals = share_found(generator, curves, sign)
                row.append("-" if not intervals else f"{share:.1f}")
                if name == REAL and intervals:
                    every, items = np.arange(TRAININGS), np.arange(of[WIDTHS[0]][score].shape[1])
                    means = np.array([curve_of([of[width]], score, [every], items)[0][0].value for width in WIDTHS])
                    highest = peaks.place_of_peak(sign * means) or 0
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
    head = [f"{seeds} seeds" for seeds in (2, 3, 4)]
    report(
        "Peaks and verdicts on real trainings",
        [
            f"How often, in percent of {repetitions} repetitions ({repetitions // 5} of CIFAR-10), the test of a peak "
            f"says p < 0.05 ({DRAWS} draws); -: no test.",
            markdown(["curve", "score", *head], rows),
            "How often the interval of the place holds the true one, and how many widths it holds:",
            markdown(["score", "seeds", "true width", "held", "widths"], places),
        ],
        chosen.out,
    )


if __name__ == "__main__":
    main()
