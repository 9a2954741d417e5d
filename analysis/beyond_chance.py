"""Agreement beyond what chance, or being right, would give: two models, as estimates over items.

Each score is a function of means over items, so its pseudo-values come from leaving one item out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from analysis.estimates import Estimate, Floats


def kappa_estimate(same_points: Floats, shares_a: Floats, shares_b: Floats) -> Estimate:
    """Cohen's kappa over planes: (observed - chance) / (1 - chance), chance = sum over classes of share_a * share_b.

    The shares are those of all planes together (Cohen 1960). NaN where both models predict one class, the same one.

    Args:
        same_points: `[planes]`, share of a plane's points on which the models agree.
        shares_a: `[planes, classes]`, share of a plane's points that a model gives to each class; `shares_b` likewise.
    """
    classes = shares_a.shape[1]

    def kappa(means: Floats) -> Floats:
        chance = (means[..., 1 : 1 + classes] * means[..., 1 + classes :]).sum(axis=-1)
        return _beyond(means[..., 0], chance)

    return _of_means(kappa, np.column_stack([same_points, shares_a, shares_b]))


def capa_estimate(
    predicted_a: NDArray[np.int64], predicted_b: NDArray[np.int64], labels: NDArray[np.int64], classes: int
) -> Estimate:
    """Agreement corrected for accuracy (CAPA of Goel et al., arXiv 2502.04313, its version for predicted classes).

    (observed - expected) / (1 - expected), where expected = right_a * right_b + (1 - right_a) * (1 - right_b) /
    (classes - 1) is the agreement of models of these accuracies whose errors are independent and uniform. 0: they err
    independently; 1: they are the same. NaN where both are always right.

    Args:
        predicted_a: `[images]`; `predicted_b` and the true `labels` likewise.
        classes: How many there are, at least 2.
    """

    def capa(means: Floats) -> Floats:
        same, right_a, right_b = np.moveaxis(means, -1, 0)
        return _beyond(same, right_a * right_b + (1 - right_a) * (1 - right_b) / (classes - 1))

    columns = [predicted_a == predicted_b, predicted_a == labels, predicted_b == labels]
    return _of_means(capa, np.column_stack(columns).astype(float))


def _beyond(observed: Floats, expected: Floats) -> Floats:
    room = 1 - expected
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(room > 1e-12, (observed - expected) / room, np.nan)


def _of_means(score: Callable[[Floats], Floats], columns: Floats) -> Estimate:
    """A score of the means of `columns` `[items, columns]`; `score` takes `[..., columns]`."""
    items = len(columns)
    means = columns.mean(axis=0)
    value = float(score(means))
    without = score((items * means - columns) / (items - 1))
    pseudo = value - (items - 1) * (without - without.mean())
    return Estimate(value, pseudo, (), 0.0, 0, 2, "items")
