"""Scores of models, pairs of models, and all models together: arrays in, numbers out.

What needs the images' true classes is None where they are not known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..scores.agreement import (
    Churn,
    agreement,
    churn_between,
    error_consistency_by_item,
    kappa_by_item,
    share_of_images,
)
from ..scores.regions import class_shares, regions_of
from ..statistics.estimates import Estimate, difference, mean_estimate, pair_estimate
from ..statistics.intervals import Advice, Interval, advice_on, holm, interval_of, p_value, variances_of
from ..statistics.pseudo_values import Floats

NAMES = ("models", "planes")
SHARE, REGIONS, CORRECTED, CHANGE = (0.0, 1.0), (1.0, math.inf), (-math.inf, 1.0), (-1.0, 1.0)


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


@dataclass(frozen=True)
class PairScores:
    """Two models: the one given first (`old`) and the one given later (`new`)."""

    old: str
    new: str
    reproducibility: Interval
    """Share of a plane's points on which the two agree, over planes."""
    kappa: Interval
    """Cohen's kappa of the points of all planes, over planes."""
    on_images: Churn
    capa: Interval | None
    """Agreement on the images, corrected for accuracy, over images."""
    accuracy_change: Interval | None
    """New minus old, paired image by image."""
    regions_change: Interval
    """New minus old, paired plane by plane."""
    regions_p: float
    """p-value of equally many regions."""
    accuracy_p_holm: float | None
    """p-value of the McNemar test, corrected for the number of pairs (Holm); likewise `regions_p_holm`."""
    regions_p_holm: float

    @property
    def agreement_on_images(self) -> float:
        """Share of the images on which the two predict the same class."""
        return 1 - self.on_images.churn.value


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
    images: int

    def advice(self, precision: float) -> Advice:
        """What it takes to bring the half-width of the overall reproducibility to at most `precision`."""
        return _advice(self.overall, precision)

    def advice_on_worst_pair(self, precision: float) -> tuple[PairScores, Advice]:
        """The pair with the widest interval of its reproducibility, and what it takes for that pair."""
        each = [_advice(mean_estimate(same[None]), precision) for same in self.same_points]
        worst = max(range(len(each)), key=lambda place: each[place].reach)
        return self.pairs[worst], each[worst]


def scores_of(
    names: Sequence[str],
    predicted: Sequence[NDArray[np.int64]],
    label_maps: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    classes: int,
) -> Scores:
    """All scores of two or more models.

    Args:
        names: Of the models.
        predicted: Predicted classes of each model, `[images]`.
        label_maps: Predicted classes, `[models, planes, rows, columns]`.
        labels: True classes, `[images]`, if they are known.
        classes: Number of classes.
    """
    models, planes, side, _ = label_maps.shape
    on_images = np.stack(predicted).astype(np.uint8)
    right = None if labels is None else on_images == labels
    same = agreement(label_maps.reshape(models, planes, -1))
    kappa = kappa_by_item(same, np.stack([class_shares(maps, classes) for maps in label_maps]))
    capa = None if right is None else error_consistency_by_item(on_images, ~right, classes)
    of_models = [regions_of(maps, 0.0) for maps in label_maps]
    regions = [mean_estimate(found.fragmentation[None].astype(float)) for found in of_models]
    first, second = np.triu_indices(models, 1)
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    churn = [churn_between(predicted[a], predicted[b], labels) for a, b in pairs]
    more_regions = [difference(regions[b], regions[a]) for a, b in pairs]
    regions_p = np.array([p_value(change) for change in more_regions])
    regions_holm = holm(regions_p)
    accuracy_holm = holm(np.array([np.nan if found.p_value is None else found.p_value for found in churn]))
    overall = _mean_of_pairs(same)
    return Scores(
        models=tuple(
            ModelScores(
                name=name,
                error=None if labels is None else share_of_images(int((own != labels).sum()), len(own)),
                regions=interval_of(count, REGIONS),
                largest_share=_mean(found.largest_region, SHARE),
                classes_predicted=len(np.union1d(own, np.unique(maps))),
            )
            for name, own, maps, found, count in zip(names, predicted, label_maps, of_models, regions, strict=True)
        ),
        pairs=tuple(
            PairScores(
                old=names[a],
                new=names[b],
                reproducibility=_mean(same[:, a, b], SHARE),
                kappa=_mean(kappa[:, a, b], CORRECTED),
                on_images=churn[pair],
                capa=None if capa is None else _mean(capa[:, a, b], CORRECTED),
                accuracy_change=None if right is None else _mean(right[b].astype(float) - right[a], CHANGE),
                regions_change=interval_of(more_regions[pair]),
                regions_p=float(regions_p[pair]),
                accuracy_p_holm=None if labels is None else float(accuracy_holm[pair]),
                regions_p_holm=float(regions_holm[pair]),
            )
            for pair, (a, b) in enumerate(pairs)
        ),
        reproducibility=interval_of(overall, SHARE),
        agreement_on_images=interval_of(_mean_of_pairs(agreement(on_images[:, :, None])), SHARE),
        overall=overall,
        same_points=same[:, first, second].T,
        shape=(planes, side),
        images=on_images.shape[1],
    )


def _mean(by_item: Floats, bounds: tuple[float, float]) -> Interval:
    return interval_of(mean_estimate(by_item[None]), bounds)


def _advice(share: Estimate, precision: float) -> Advice:
    return advice_on(interval_of(share, SHARE), variances_of(share), precision, NAMES)


def _mean_of_pairs(same: Floats) -> Estimate:
    """Mean over pairs of `same`, `[items, models, models]`."""
    first, second = np.triu_indices(same.shape[1], 1)
    return pair_estimate(same.mean(axis=0), same[:, first, second].mean(axis=1), on_items=same)
