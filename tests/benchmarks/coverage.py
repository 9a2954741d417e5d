"""How often do intervals and tests of real trainings err, score by score?

    python -m dbviz_ray.sweep double_descent_digits --stages train,evaluate --out RUN grid.seed=[0,...,119] \\
        grid.width=[8,32,512] grid.label_noise=[0.2] \\
        'planes={test: {images: test, classes: different, count: 400, resolution: 20, probabilities: true}}'
    python tests/benchmarks/coverage.py RUN [--repetitions 600] [--out FILE]

A repetition deals some trainings of one width into two groups, and draws 200 planes and as many images as there are,
with replacement: all of them are samples. It counts whether an interval of the first group holds the truth, the mean
over all trainings, planes and images, and whether p < 0.05 of the two groups' difference, which is none.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from timing import markdown, parser_of, report

from dbviz_ray.analysis.scores import trained as run
from dbviz_ray.analysis.scores.group_scores import SCORES, Observed, image_estimates, plane_estimates
from dbviz_ray.analysis.scores.groups import Group
from dbviz_ray.analysis.scores.plane_scores import Stored, score_planes
from dbviz_ray.analysis.statistics.estimates import Estimate, difference
from dbviz_ray.analysis.statistics.intervals import interval_of, p_value
from dbviz_ray.store import Store
from dbviz_ray.store.layout import MODEL

WIDTHS = (8, 32, 512)
SIZES = (2, 3, 4, 5, 8)
Places = NDArray[np.intp]
PLANES = 200
"""Planes of a sample, as in double_descent_digits; it has as many images as the run."""


class Items(NamedTuple):
    """Places of planes and images."""

    planes: Places
    tested: Places
    trained: Places
    measured: Places
    """Of the training images with margins."""


class Population:
    """All trainings of one width, on the plane set `test`."""

    def __init__(self, folder: Path, width: int) -> None:
        store = Store(folder)
        sweep = store.sweep()
        configs = [model.config for model in run.trained_models(store, sweep) if model.config.width == width]
        epochs = [config.training.epochs for config in configs]
        facts = [store.read_json(store.model_file(config.model_id, MODEL)) for config in configs]
        stored = run.stored_planes(store, sweep, "test", configs, epochs)
        self.seeds = [config.seeds for config in configs]
        self.sharpness = np.array([of["sharpness"] for of in facts], float)
        self.predictions = run.read_predictions(store, configs, epochs)
        self.margins = run.read_margins(store, sweep, configs, epochs, self.predictions)
        self.maps = np.stack([stored.labels(model, slice(0, stored.planes)) for model in range(stored.models)])
        """`[trainings, planes, points, points]`."""
        self.probabilities = stored.probabilities(slice(0, stored.planes)) if stored.probabilities else None
        self.classes = stored.classes

    def items(self, generator: np.random.Generator | None = None) -> Items:
        """All planes and images, or a sample of them, with replacement."""
        of, measured = self.predictions, 0 if self.margins is None else self.margins.found.shape[1]
        known = self.maps.shape[1], of.on_test.shape[1], of.on_train.shape[1], measured
        if generator is None:
            return Items(*map(np.arange, known))
        drawn = (generator.integers(0, images, images) for images in known[1:])
        return Items(generator.integers(0, known[0], PLANES), *drawn)

    def estimates(self, sides: Sequence[Places], items: Items) -> list[dict[str, Estimate]]:
        """Every score of each of some sets of trainings, on these items, as the analysis computes it."""
        members, of, margins = np.concatenate(sides), self.predictions, self.margins
        trained, tested, planes = (np.ix_(members, some) for some in (items.trained, items.tested, items.planes))
        on_train = (values[trained] for values in (of.on_train, of.given, of.true, of.trained_on))
        predictions = run.Predictions(*on_train, of.on_test[tested], of.true_test[items.tested])
        if margins is not None:
            some = np.ix_(members, items.measured)
            margins = run.Margins(margins.distances[some], margins.found[some], margins.mislabelled[some])
        maps = self.maps[planes]
        soft = None if self.probabilities is None else self.probabilities[planes]
        stored = Stored(
            *maps.shape[:3],
            self.classes,
            lambda model, some: maps[model, some],
            None if soft is None else lambda some: soft[:, some],
        )
        ends = np.cumsum([0, *map(len, sides)])
        groups = [
            Group({}, np.arange(first, last), tuple(self.seeds[member] for member in side))
            for side, first, last in zip(sides, ends, ends[1:], strict=False)
        ]
        wanted = frozenset({"reproducibility", "fragmentation"})
        scored = score_planes(stored, wanted, [group.independent_pairs for group in groups], 0.01)
        observed = Observed(predictions, self.sharpness[members], margins)
        return [image_estimates(group, observed, self.classes) | plane_estimates(group, scored) for group in groups]


def main() -> None:
    """Print a Markdown table in percent, and append it to `--out`."""
    parser = parser_of(__doc__, repetitions=600)
    parser.add_argument("run", type=Path)
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
