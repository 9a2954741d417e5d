"""How often do 95 % intervals of scores of label maps hold the truth?

    python tests/benchmarks/coverage.py [--repetitions 2000] [--out FILE]

Two groups of models on the same planes, of 4 classes. A plane's reference labels are 4 x 4 blocks of 2 x 2
points, of a class that the plane prefers or of any. On a plane a model says the reference's class with probability

    base of the group + effect of the model + effect of the plane + effect of both together

and one of the other classes else. Effects of models are normal, of planes skewed (Beta(2, 5), centred), of both
together uniform; in the last case those of models are skewed as well. Scores are computed from maps as the analysis
does it. The true values of agreement and kappa follow from the effects' variances; those of regions are means over maps
of as many models, on as many planes. `peaks.py` has errors and CAPA, of real trainings.
"""

import functools
import itertools
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package need not be installed

from dbviz_ray.analysis.scores.agreement import (
    agreement,
    cohens_kappa,
    kappa_by_item,
)
from dbviz_ray.analysis.scores.regions import class_shares, regions_of
from dbviz_ray.analysis.statistics.estimates import (
    Estimate,
    cross_pair_estimate,
    difference,
    mean_estimate,
    pair_estimate,
)
from dbviz_ray.analysis.statistics.intervals import interval_of, ratio_interval

CLASSES, SIDE, BLOCK = 4, 8, 2
BASES = (0.75, 0.65)
"""Of the two groups."""
REGION_MAPS = 400_000


@dataclass(frozen=True)
class Strength:
    """Standard deviations of the effects."""

    models: float
    planes: float
    both: float
    skewed_models: bool = False


STRENGTHS = {
    "models": Strength(0.05, 0.02, 0.0),
    "planes": Strength(0.01, 0.1, 0.0),
    "models and planes": Strength(0.02, 0.1, 0.0),
    "interactions": Strength(0.02, 0.06, 0.06),
    "models, skewed": Strength(0.05, 0.02, 0.0, skewed_models=True),
}


def skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Numbers of mean 0 and variance 1, from -4.5 to 1.8."""
    return -(generator.beta(2, 5, shape) - 2 / 7) / np.sqrt(10 / (49 * 8))


def of_models(generator: np.random.Generator, strength: Strength, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Effects of models."""
    return strength.models * (skewed(generator, shape) if strength.skewed_models else generator.normal(size=shape))


def chances(
    generator: np.random.Generator, strength: Strength, bases: NDArray[np.float64], planes: int
) -> NDArray[np.float64]:
    """How often each model says the reference's class on each plane: `[models, planes]`, of `bases` `[models]`."""
    models = len(bases)
    own = bases[:, None] + of_models(generator, strength, (models, 1))
    both = strength.both * np.sqrt(12) * (generator.random((models, planes)) - 0.5)
    return np.asarray(own + strength.planes * skewed(generator, (planes,)) + both)


def label_maps(generator: np.random.Generator, chance: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Label maps `[models, planes, SIDE, SIDE]`, of chances `[models, planes]` to say the reference's class."""
    models, planes = chance.shape
    blocks = generator.integers(0, CLASSES, (planes, SIDE // BLOCK, SIDE // BLOCK), dtype=np.uint8)
    preferred = generator.integers(0, CLASSES, (planes, 1, 1), dtype=np.uint8)
    blocks = np.where(generator.random(blocks.shape) < 0.5, preferred, blocks)
    reference = blocks.repeat(BLOCK, axis=1).repeat(BLOCK, axis=2)
    shape = (models, *reference.shape)
    other = generator.integers(1, CLASSES, shape, dtype=np.uint8)
    other[generator.random(shape, dtype=np.float32) < chance[:, :, None, None]] = 0
    return (other + reference) % CLASSES


def map_scores(maps: NDArray[np.uint8], first: int) -> dict[str, Estimate]:
    """Estimates of every score of two groups' maps, the first of `first` models: "a ", "b " or "a, b " and a name."""
    models, planes = maps.shape[:2]
    found = {}
    same = agreement(maps.reshape(models, planes, -1))
    shares = np.array([class_shares(of_model, CLASSES) for of_model in maps])
    regions = regions_of(maps.reshape(-1, SIDE, SIDE), 0.01)
    counts, largest = (each.reshape(models, planes) for each in (regions.fragmentation, regions.largest_region))
    for name, side in (("a", slice(0, first)), ("b", slice(first, models))):
        own, by_pair = same[:, side, side], same[:, side, side].mean(axis=0)
        found[f"{name} agreement"] = _of_pairs(by_pair, own)
        found[f"{name} agreement, means only"] = pair_estimate(by_pair, _pair_means(own))
        found[f"{name} kappa"] = _of_pairs(cohens_kappa(by_pair, shares[side]), kappa_by_item(own, shares[side]))
        found[f"{name} regions"] = mean_estimate(counts[side].astype(float))
        found[f"{name} largest share"] = mean_estimate(largest[side])
    between = same[:, :first, first:]
    found["a, b agreement"] = cross_pair_estimate(between.mean(axis=0), between.mean(axis=(1, 2)), between)
    found["a, b agreement, means only"] = cross_pair_estimate(between.mean(axis=0), between.mean(axis=(1, 2)))
    return found


def _of_pairs(by_pair: NDArray[np.float64], on_items: NDArray[np.float64]) -> Estimate:
    return pair_estimate(by_pair, _pair_means(on_items), on_items=on_items)


def _pair_means(on_items: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(on_items[:, *np.triu_indices(on_items.shape[1], 1)].mean(axis=1))


@functools.cache
def truths(strength: Strength, region_maps: int = REGION_MAPS) -> Mapping[str, float]:
    """The true value of every score."""
    found = {}
    for name, base in zip("ab", BASES, strict=True):
        alike = _agreeing(base, base, strength)
        found[f"{name} agreement"] = found[f"{name} agreement, means only"] = alike
        found[f"{name} kappa"] = (alike - 1 / CLASSES) / (1 - 1 / CLASSES)
        found[f"{name} regions"], found[f"{name} largest share"] = _mean_regions(strength, base, region_maps)
    found["a, b agreement"] = found["a, b agreement, means only"] = _agreeing(*BASES, strength)
    return found


def _agreeing(first: float, second: float, strength: Strength) -> float:
    """How often models agree, over planes, that say the reference's class so often."""
    both_right = first * second + strength.planes**2
    return both_right + (1 - first - second + both_right) / (CLASSES - 1)


def _mean_regions(strength: Strength, base: float, maps: int) -> tuple[float, float]:
    """Mean count and largest share over maps of as many models, on as many planes."""
    generator, each = np.random.default_rng(7), 10_000
    counts, largest = [], []
    for _ in range(maps // each):
        own = base + of_models(generator, strength, (each,))
        # One row of as many planes as models: every map has a model and a plane of its own.
        chance = own + chances(generator, replace(strength, models=0.0), np.zeros(1), each)
        regions = regions_of(label_maps(generator, chance)[0], 0.01)
        counts.append(regions.fragmentation.mean())
        largest.append(regions.largest_region.mean())
    return float(np.mean(counts)), float(np.mean(largest))


RATIOS = ("agreement", "regions")


def repetition(generator: np.random.Generator, strength: Strength, models: int, planes: int) -> dict[str, bool]:
    """Whether each score's interval holds the truth, once."""
    bases = np.repeat(BASES, models)
    found = map_scores(label_maps(generator, chances(generator, strength, bases, planes)), models)
    true = truths(strength)
    intervals = {name: (interval_of(found[name]), true[name]) for name in found if not name.startswith("b ")}
    for name in [name.removeprefix("a ") for name in found if name.startswith("a ")]:
        of_a, of_b = f"a {name}", f"b {name}"
        intervals[f"a - b {name}"] = interval_of(difference(found[of_a], found[of_b])), true[of_a] - true[of_b]
        if name in RATIOS:
            intervals[f"a / b {name}"] = ratio_interval(found[of_a], found[of_b]), true[of_a] / true[of_b]
    return {name: interval.low <= value <= interval.high for name, (interval, value) in intervals.items()}


def main() -> None:
    """Print Markdown tables of coverage in percent, one for each strength of effects, and append them to `--out`."""
    from timing import markdown, parser_of, report  # which tests cannot import, and do not need

    parser = parser_of(__doc__)
    parser.add_argument("--repetitions", type=int, default=2000)
    chosen = parser.parse_args()
    sizes = list(itertools.product((3, 5, 10), (100, 500)))
    parts = [f"In how many of {chosen.repetitions} repetitions, in percent, the interval holds the truth."]
    for number, (name, strength) in enumerate(STRENGTHS.items()):
        columns = []
        for models, planes in sizes:
            generator, counts = np.random.default_rng([models, planes, number]), Counter[str]()
            for _ in range(chosen.repetitions):
                counts.update(repetition(generator, strength, models, planes))
            columns.append(counts)
            print(f"effects of {name}: {models} models, {planes} planes", file=sys.stderr)
        header = ["score", *(f"{models} models, {planes}" for models, planes in sizes)]
        rows = [[score, *(f"{100 * of[score] / chosen.repetitions:.1f}" for of in columns)] for score in columns[0]]
        parts += [f"Effects of {name}:", markdown(header, rows)]
    report("Coverage of 95 % intervals", parts, chosen.out)


if __name__ == "__main__":
    main()
