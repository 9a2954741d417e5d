"""Scores of models, pairs of models, and all models together: arrays in, numbers out.

What needs the images' true classes is None where they are not known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dbviz_ray.store import Labels

from ..predictions.scores import CORRECTED, SHARE, OnItems, agreement_of_all, errors_of, pairs_on_items
from ..scores.agreement import pairs_on_planes
from ..scores.regions import regions_of
from ..statistics.estimates import Estimate, every_pair_estimate, mean_estimate
from ..statistics.intervals import Advice, Interval, Means, advice_on, holm, interval_of, variances_of
from ..statistics.pseudo_values import Floats

REGIONS, ANY = (1.0, math.inf), (-math.inf, math.inf)


@dataclass(frozen=True)
class ModelScores:
    """One model alone."""

    name: str
    error: Interval | None
    """Share of the images that it classifies wrongly, over images."""
    regions: Interval
    """Fragmentation: connected regions of one class in a plane, over planes."""
    largest_share: Interval
    """Share of a plane's points in its largest region, over planes."""
    classes_predicted: int
    """Number of different classes that it predicts, on images and planes."""


@dataclass(frozen=True, slots=True)
class PairScores:
    """Two models: the one given first (`old`) and the one given later (`new`)."""

    old: str
    new: str
    reproducibility: Interval
    """Share of a plane's points on which the two agree, over planes."""
    kappa: Interval
    """Cohen's kappa of the points of all planes, over planes."""
    on_images: OnItems
    regions_change: Interval
    """New minus old, paired plane by plane."""
    regions_p: float
    """p-value of equally many regions."""
    regions_p_holm: float
    """The same, corrected for the number of pairs (Holm)."""


@dataclass(frozen=True)
class Scores:
    """How far two or more models are the same model."""

    models: tuple[ModelScores, ...]
    pairs: tuple[PairScores, ...]
    """Every two models, in the order given."""
    reproducibility: Interval
    """Mean over pairs. Its interval covers planes, and with more than two models models too."""
    agreement_on_images: Interval
    """Mean over pairs. Its interval covers images, and with more than two models models too."""
    overall: Estimate
    """Behind `reproducibility`."""
    same_points: Floats
    """Share of the points on which the two agree, `[pairs, planes]`."""
    shape: tuple[int, int]
    """Planes, and grid points on each side of one."""
    predicted: Labels
    """Classes on the images, `[models, images]`."""
    truth: NDArray[np.int64] | None
    """True classes, `[images]`."""
    images: int

    def advice(self, precision: float) -> Advice:
        """What it takes to bring the half-width of the overall reproducibility to at most `precision`."""
        return _advice(self.overall, precision)

    def advice_on_worst_pair(self, precision: float) -> tuple[PairScores, Advice]:
        """The pair with the widest interval of its reproducibility, and what it takes for that pair."""
        worst = int(np.argmax(self.same_points.var(axis=1)))
        return self.pairs[worst], _advice(mean_estimate(self.same_points[worst][None]), precision)


def scores_of(
    names: Sequence[str],
    predicted: NDArray[np.int64],
    label_maps: Labels,
    labels: NDArray[np.int64] | None,
    classes: int,
) -> Scores:
    """All scores of two or more models.

    `predicted` are their classes on the images, `[models, images]`; `label_maps` on the planes, `[models, planes, rows,
    columns]`; `labels` are the true classes, `[images]`, if they are known.
    """
    models, planes, side, _ = label_maps.shape
    on_images = np.asarray(predicted, np.min_scalar_type(classes - 1))
    first, second = np.triu_indices(models, 1)
    same, partners, kappas, class_shares = pairs_on_planes(label_maps, classes)
    alike = Means.of(same.mean(axis=0), planes, ((row, 1) for row in same))
    found = [regions_of(maps, 0.0) for maps in label_maps]
    regions = np.stack([of.fragmentation for of in found], axis=1)  # [planes, models]
    mean, gained = regions.mean(axis=0), ((row[second] - row[first], 1) for row in regions)
    more_regions = Means.of(mean[second] - mean[first], planes, gained)
    regions_p = more_regions.p_values()
    overall = every_pair_estimate(partners)
    sides = (map(names.__getitem__, places.tolist()) for places in (first, second))
    on_planes = alike.intervals(SHARE), kappas.intervals(CORRECTED)
    of_images = pairs_on_items(on_images, labels, classes)
    of_regions = more_regions.intervals(ANY, models=2), regions_p.tolist(), holm(regions_p).tolist()
    return Scores(
        models=tuple(
            ModelScores(
                name=name,
                error=error,
                regions=interval_of(mean_estimate(of.fragmentation[None].astype(float)), REGIONS),
                largest_share=interval_of(mean_estimate(of.largest_region[None]), SHARE),
                classes_predicted=len(np.union1d(own, np.flatnonzero(shares))),
            )
            for name, own, shares, of, error in zip(
                names, on_images, class_shares, found, errors_of(on_images, labels), strict=True
            )
        ),
        pairs=tuple(map(PairScores, *sides, *on_planes, of_images, *of_regions)),
        reproducibility=interval_of(overall, SHARE),
        agreement_on_images=interval_of(agreement_of_all(on_images), SHARE),
        overall=overall,
        same_points=same.T,
        shape=(planes, side),
        predicted=on_images,
        truth=labels,
        images=on_images.shape[1],
    )


def _advice(share: Estimate, precision: float) -> Advice:
    return advice_on(interval_of(share, SHARE), variances_of(share), SHARE, precision, ("models", "planes"))
