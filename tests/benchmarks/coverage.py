"""How often do intervals and tests of real trainings err, score by score?

    python -m dbviz_ray.sweep double_descent_digits --stages train,evaluate --out RUN grid.seed=[0,...,119] \\
        grid.width=[8,32,512] grid.label_noise=[0.2] \\
        'planes={test: {images: test, classes: different, count: 400, resolution: 20, probabilities: true}}'
    python tests/benchmarks/coverage.py RUN [--repetitions 600] [--out FILE]

A repetition deals some trainings of one width into two groups, and draws 200 planes and as many images as there are,
with replacement. It counts whether an interval of the first group holds the truth, the mean over all trainings, planes
and images, and whether p < 0.05 of the two groups' difference, which is none.
"""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from population import Population
from timing import markdown, parser_of, report

from dbviz_ray.analysis.scores.group_scores import SCORES
from dbviz_ray.analysis.statistics.estimates import difference
from dbviz_ray.analysis.statistics.intervals import interval_of, p_value

WIDTHS = (8, 32, 512)
SIZES = (2, 3, 4, 5, 8)


def main() -> None:
    """Print a Markdown table in percent, and append it to `--out`."""
    parser = parser_of(__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--repetitions", type=int, default=600)
    chosen = parser.parse_args()
    rows = []
    for width in WIDTHS:
        population = Population(chosen.run, width)
        trainings = len(population.seeds)
        everything = population.estimates([np.arange(trainings)], population.items())[0]
        cells = {score: [str(width), score] for score in SCORES if score in everything}
        for size in SIZES:
            generator = np.random.default_rng([width, size])
            tested, alarms, held = Counter[str](), Counter[str](), Counter[str]()
            for _ in range(chosen.repetitions):
                order = generator.permutation(trainings)[: 2 * size]
                sides = population.estimates([order[:size], order[size:]], population.items(generator))
                for score in cells:
                    one, other = (side[score] for side in sides)
                    interval, p = interval_of(one, SCORES[score]), p_value(difference(one, other))
                    held[score] += interval.low <= everything[score].value <= interval.high
                    tested[score] += p == p
                    alarms[score] += p < 0.05
            for score, cell in cells.items():
                alarm = f"{100 * alarms[score] / tested[score]:.1f}" if tested[score] else "-"
                cell.append(f"{alarm} ({100 * held[score] / chosen.repetitions:.1f})")
            print(f"width {width}: {size} trainings", file=sys.stderr, flush=True)
        rows += cells.values()
    report(
        "Intervals and tests on real trainings",
        [
            f"In how many percent of {chosen.repetitions} repetitions p < 0.05 for the difference of two groups of one "
            "width; in brackets: the interval of one group holds the truth.",
            markdown(["width", "score", *(f"{size} trainings" for size in SIZES)], rows),
        ],
        chosen.out,
    )


if __name__ == "__main__":
    main()
