"""How often do 95 % intervals of every score hold the truth?

    python tests/benchmarks/coverage.py [--repetitions 2000] [--out FILE]

Two groups of models on the same planes and images, of 4 classes. A plane's reference labels are 4 x 4 blocks of 2 x 2
points, of a class that the plane prefers or of any. On a plane a model says the reference's class with probability

    base of the group + effect of the model + effect of the plane + effect of both together

and one of the other classes else. Effects of models are normal, of planes skewed (Beta(2, 5), centred), of both
together uniform; in the last case those of models are skewed as well. Six of ten images are easy, right in 97 % of the
cases; the others with the probability above, without a plane's effects; a wrong prediction is mostly (80 %) one that
the image suggests. Margins are lognormal with effects of the same strengths. Scores are computed from maps,
predictions and distances as the analysis does it.

The true values of agreement, kappa and error follow from the effects' variances, that of CAPA from 4
million pairs of models; those of regions are means over maps of as many models, on as many planes.
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
    capa,
    capa_by_item,
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
    quantile_estimate,
)
from dbviz_ray.analysis.statistics.intervals import interval_of, ratio_interval

CLASSES, SIDE, BLOCK = 4, 8, 2
BASES = (0.75, 0.65)
"""Of the two groups."""
EASY, RIGHT_IF_EASY = 0.6, 0.97
SUGGESTIONS = (0.8, 0.1, 0.1)
"""Of an image: how often each of the three other classes is predicted where the prediction is wrong."""
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


def predictions(
    generator: np.random.Generator, strength: Strength, bases: NDArray[np.float64], images: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Predicted classes `[models, images]`, and whether they are wrong."""
    on_hard = bases + of_models(generator, strength, (len(bases),))
    right = np.where(generator.random(images) < EASY, RIGHT_IF_EASY, on_hard[:, None])
    wrong = generator.random(right.shape) >= right
    labels, suggested = generator.integers(0, CLASSES, images), generator.integers(1, CLASSES, images)
    others = (suggested + generator.choice(3, right.shape, p=SUGGESTIONS) - 1) % (CLASSES - 1) + 1
    return np.where(wrong, labels + others, labels).astype(np.uint8) % CLASSES, wrong


def margins(
    generator: np.random.Generator, strength: Strength, bases: NDArray[np.float64], images: int
) -> NDArray[np.float64]:
    """Margins `[models, images]`: exp(base + 4 times the effects), so that images differ by a factor."""
    own = generator.normal(0, 4 * strength.models, (len(bases), 1))
    of_images = generator.normal(0, 4 * strength.planes, images) + generator.normal(
        0, 4 * strength.both + 0.2, (len(bases), images)
    )
    return np.exp(bases[:, None] + own + of_images)


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


def image_scores(
    predicted: NDArray[np.uint8], wrong: NDArray[np.bool_], values: NDArray[np.float64], first: int
) -> dict[str, Estimate]:
    """The same of predictions and margins."""
    found = {}
    for name, side in (("a", slice(0, first)), ("b", slice(first, len(wrong)))):
        by_pair = capa(agreement(predicted[side, None])[0], wrong[side], CLASSES)
        by_image = capa_by_item(predicted[side], wrong[side], CLASSES)
        found[f"{name} error"] = mean_estimate(wrong[side].astype(float))
        found[f"{name} CAPA"] = _of_pairs(by_pair, by_image)
        found[f"{name} margin"] = mean_estimate(values[side])
        found[f"{name} median margin"] = quantile_estimate(values[side], 0.5)
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
        found[f"{name} CAPA"] = _mean_capa(strength, base)
        found[f"{name} error"] = EASY * (1 - RIGHT_IF_EASY) + (1 - EASY) * (1 - base)
        found[f"{name} regions"], found[f"{name} largest share"] = _mean_regions(strength, base, region_maps)
        own, of_image = (4 * strength.models) ** 2, (4 * strength.planes) ** 2 + (4 * strength.both + 0.2) ** 2
        found[f"{name} margin"] = float(np.exp(base + (own + of_image) / 2))
        found[f"{name} median margin"] = float(np.exp(base + own / 2))
    found["a, b agreement"] = found["a, b agreement, means only"] = _agreeing(*BASES, strength)
    return found


def _agreeing(first: float, second: float, strength: Strength) -> float:
    """How often models agree, over planes, that say the reference's class so often."""
    both_right = first * second + strength.planes**2
    return both_right + (1 - first - second + both_right) / (CLASSES - 1)


def _mean_capa(strength: Strength, base: float) -> float:
    """Mean over 4 million pairs of models."""
    hard = base + of_models(np.random.default_rng(7), strength, (2, 4_000_000))
    alike = sum(share**2 for share in SUGGESTIONS)
    both_right = EASY * RIGHT_IF_EASY**2 + (1 - EASY) * hard[0] * hard[1]
    both_wrong = EASY * (1 - RIGHT_IF_EASY) ** 2 + (1 - EASY) * (1 - hard[0]) * (1 - hard[1])
    right = EASY * RIGHT_IF_EASY + (1 - EASY) * hard
    expected = right[0] * right[1] + (1 - right[0]) * (1 - right[1]) / (CLASSES - 1)
    return float(((both_right + alike * both_wrong - expected) / (1 - expected)).mean())


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


RATIOS = ("agreement", "regions", "error", "margin", "median margin")


def repetition(generator: np.random.Generator, strength: Strength, models: int, planes: int) -> dict[str, bool]:
    """Whether each score's interval holds the truth, once."""
    bases = np.repeat(BASES, models)
    found = map_scores(label_maps(generator, chances(generator, strength, bases, planes)), models)
    predicted, wrong = predictions(generator, strength, bases, planes)
    found |= image_scores(predicted, wrong, margins(generator, strength, bases, planes), models)
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
