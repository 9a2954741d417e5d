"""Label maps of two groups of models with known true scores, to try how often intervals hold them.

The groups label the same planes, of 4 classes. A plane's reference labels are 4 x 4 blocks of 2 x 2 points, of a class
that the plane prefers or of any. On a plane a model says the reference's class with probability

    base of the group + effect of the model + effect of the plane + effect of both together

and one of the other classes else. Effects of models are normal, of planes skewed (Beta(2, 5), centred), of both
together uniform. Scores are computed from maps as the analysis does it. The true values of agreement and kappa follow
from the effects' variances; those of regions are means over maps of as many models, on as many planes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.analysis.scores.agreement import agreement, cohens_kappa, kappa_by_item
from dbviz_ray.analysis.scores.regions import class_shares, regions_of
from dbviz_ray.analysis.statistics.estimates import Estimate, cross_pair_estimate, mean_estimate, pair_estimate

Floats = NDArray[np.float64]
CLASSES, SIDE, BLOCK = 4, 8, 2
BASES = (0.75, 0.65)
"""Of the two groups."""


@dataclass(frozen=True)
class Strength:
    """Standard deviations of the effects."""

    models: float
    planes: float
    both: float


STRENGTHS = {"models and planes": Strength(0.02, 0.1, 0.0), "interactions": Strength(0.02, 0.06, 0.06)}


def chances(generator: np.random.Generator, strength: Strength, bases: Floats, planes: int) -> Floats:
    """How often each model says the reference's class on each plane: `[models, planes]`, of `bases` `[models]`."""
    models = len(bases)
    own = bases[:, None] + strength.models * generator.normal(size=(models, 1))
    both = strength.both * np.sqrt(12) * (generator.random((models, planes)) - 0.5)
    skewed = (2 / 7 - generator.beta(2, 5, planes)) / np.sqrt(10 / (49 * 8))
    return np.asarray(own + strength.planes * skewed + both)


def label_maps(generator: np.random.Generator, chance: Floats) -> NDArray[np.uint8]:
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
    counts = regions_of(maps.reshape(-1, SIDE, SIDE), 0.01).fragmentation.reshape(models, planes)
    for name, side in (("a", slice(0, first)), ("b", slice(first, models))):
        own, by_pair = same[:, side, side], same[:, side, side].mean(axis=0)
        found[f"{name} agreement"] = _of_pairs(by_pair, own)
        found[f"{name} kappa"] = _of_pairs(cohens_kappa(by_pair, shares[side]), kappa_by_item(own, shares[side]))
        found[f"{name} regions"] = mean_estimate(counts[side].astype(float))
    between = same[:, :first, first:]
    found["a, b agreement"] = cross_pair_estimate(between.mean(axis=0), between.mean(axis=(1, 2)), between)
    return found


def _of_pairs(by_pair: Floats, on_items: Floats) -> Estimate:
    pairs = on_items[:, *np.triu_indices(on_items.shape[1], 1)]
    return pair_estimate(by_pair, pairs.mean(axis=1), on_items=on_items)


def truths(strength: Strength, models: int) -> Mapping[str, float]:
    """The true value of every score; those of regions from as many models."""
    found = {"a, b agreement": _agreeing(*BASES, strength)}
    for name, base in zip("ab", BASES, strict=True):
        alike = found[f"{name} agreement"] = _agreeing(base, base, strength)
        found[f"{name} kappa"] = (alike - 1 / CLASSES) / (1 - 1 / CLASSES)
        generator = np.random.default_rng(7)
        own = base + strength.models * generator.normal(size=models)
        # One row of as many planes as models: every map has a model and a plane of its own.
        chance = own + chances(generator, replace(strength, models=0.0), np.zeros(1), models)
        found[f"{name} regions"] = float(regions_of(label_maps(generator, chance)[0], 0.01).fragmentation.mean())
    return found


def _agreeing(first: float, second: float, strength: Strength) -> float:
    """How often models agree, over planes, that say the reference's class so often."""
    both_right = first * second + strength.planes**2
    return both_right + (1 - first - second + both_right) / (CLASSES - 1)
