"""Is there a peak on a curve, and where? A test of one score along an axis, from few trainings at each point.

A peak is an inner point that lies above points before and after it; a curve without one falls, then rises. The test
compares means over windows of neighbouring points, since a peak is seldom one point wide: with z(b, a) the difference
of windows over its standard error, it is the largest over b of min(max over a before b, max over a after b of z(b, a)).

Trainings are independent between points; their variances are averaged over neighbours, so that two or three trainings a
point suffice: by cube roots, which are nearly normal (Wilson and Hilferty, PNAS 17, 1931), as variances of narrow and
wide networks differ a hundredfold. Items (planes, images) are the same at all points and pair them. For a score of
pairs, such as reproducibility, the variances come from the pairs of neighbouring points (`Pairs`).

The statistic is compared with a parametric bootstrap, which draws values and trainings' variances anew around the
closest curve without a peak (weighted least squares; Silvapulle and Sen, Constrained Statistical Inference, 2005).
Steps of that curve that may be noise are levelled (generalised moment selection, Andrews and Soares, Econometrica 78,
2010): a flat curve's closest one has some by chance. tests/benchmarks/RESULTS.md has measured false alarms and power.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import optimize, special

from .estimates import Estimate
from .intervals import variances_of
from .pseudo_values import LEVEL, Floats, Places, interaction, sum_of

DRAWS = 4000
BANDWIDTH = 2.0
"""Standard deviation, in points, of the normal kernel that averages variances."""
WITHIN_NOISE = 2.5
"""Steps of the curve without a peak are levelled up to so many standard errors."""
SIZES = (1, 2, 3)
"""Points of a window; three of the largest must fit on the curve."""
BLOCK, MOST_NUMBERS = 500, 2**21
"""Draws that are in memory at a time, and numbers of their differences, which limit them if there are many points."""
TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class Peak:
    """The point that rises furthest above the lowest points on both sides of it. Points count from 0."""

    place: int
    p_value: float = math.nan
    """The probability of such a peak on a curve without one; NaN if nothing is known about other trainings."""
    interval: tuple[int, int] | None = None
    """Of the place, 95 %: the first and last point that may be the highest between the lowest points on both sides."""


@dataclass(frozen=True)
class Pairs:
    """What a score is made of that is the mean over all pairs of a point's trainings, such as their reproducibility."""

    neighbours: Sequence[Floats]
    """For all points but the last: the score of each pair of its trainings with the next point's, `[trainings,
    trainings]`. Each point has at least two trainings."""

    @property
    def sizes(self) -> list[int]:
        """The number of each point's trainings."""
        return [len(self.neighbours[0]), *(together.shape[1] for together in self.neighbours)]

    def variances(self) -> Floats:
        """`[points]`: what trainings add to the variance of each point's score.

        A pair is the sum of effects of its two trainings, of variance s, and of its own, of variance t. The mean over
        all pairs of n trainings then has variance 4 s / n + 2 t / (n (n - 1)). Three trainings or fewer cannot tell s
        from t, and leaving out one of three counts t four times. Their pairs with the trainings of neighbouring points
        can, as two crossed factors: trainings have nearly the same effects there (on the digits, a correlation of 0.85
        to 0.99). Equal seeds at two widths agree a little more, which counts as t.
        """
        beside: list[list[tuple[Floats, float, int]]] = [[] for _ in self.sizes]
        for place, together in enumerate(self.neighbours):
            own, others = together.shape
            rows, columns = together.mean(axis=1), together.mean(axis=0)
            t = interaction(together)[0] * together.size
            beside[place].append((rows, t, others))
            beside[place + 1].append((columns, t, own))
        variances = []
        for n, found in zip(self.sizes, beside, strict=True):
            means, of_pairs, others = (np.array(part) for part in zip(*found, strict=True))
            s = means.mean(axis=0).var(ddof=1) - (of_pairs / others).sum() / len(found) ** 2
            variances.append(max(4 * s / n + 2 * of_pairs.mean() / (n * (n - 1)), 0.0))
        return np.array(variances)


def place_of_peak(values: Floats) -> int | None:
    """The point `[points]` that rises furthest above the lowest points on both sides; None if none rises."""
    before, after = np.minimum.accumulate(values), np.minimum.accumulate(values[::-1])[::-1]
    rises = values - np.maximum(before, after)  # 0 at both ends
    return int(rises.argmax()) if rises.max(initial=0.0) > 0 else None


def find_peak(
    estimates: Sequence[Estimate], generator: np.random.Generator, sign: int = 1, pairs: Pairs | None = None
) -> Peak | None:
    """The peak, or with sign -1 the dip, of a score: one estimate a point, of other models on the same items.

    None without a peak. `pairs` are those of a score of pairs, which can then be tested from two trainings a point on.
    """
    values = sign * np.array([estimate.value for estimate in estimates])
    place = place_of_peak(values)
    if place is None:
        return None
    noise = _noise_of(estimates, pairs)
    if noise is None:
        return Peak(place)
    windows, null = _windows(len(values)), _without_peak(values, noise.covariance)
    chance, own = noise.drawn(generator)
    rises = [_largest_rises(noise, null + chance[some], own[some], windows) for some in _blocks(len(windows))]
    observed = _largest_rises(noise, values[None], noise.of_models[None], windows)
    p_value = (1 + np.count_nonzero(np.concatenate(rises) >= observed)) / (1 + DRAWS)
    # A point may be the highest if no other lies further above it than chance explains.
    hill = slice(int(values[:place].argmin()) + 1, place + 1 + int(values[place + 1 :].argmin()))
    points, (high, low) = np.eye(len(values))[hill], np.indices([hill.stop - hill.start] * 2)
    drawn = [noise.differences(chance[some], own[some], points, high, low).max(axis=0) for some in _blocks(len(points))]
    most = np.quantile(np.concatenate(drawn, axis=1), LEVEL, axis=1)
    above = noise.differences(values[None], noise.of_models[None], points, high, low)[..., 0].max(axis=0)
    possible = hill.start + np.flatnonzero(above <= most)
    return Peak(place, p_value, (int(possible[0]), int(possible[-1])))


def _blocks(side: int) -> list[slice]:
    """Draws whose differences, of `side` windows with one another, are in memory at a time."""
    each = max(1, min(BLOCK, MOST_NUMBERS // side**2))
    return [slice(first, first + each) for first in range(0, DRAWS, each)]


@dataclass(frozen=True)
class _Noise:
    """The errors of the values of a curve, `[points]`."""

    of_items: Floats
    """Covariance `[points, points]` from items, without what each point's own trainings do to single items."""
    own: Floats
    """`[points]`, the variance from each point's own trainings, on these items."""
    freedom: Floats
    """`[points]`, its degrees of freedom."""

    @cached_property
    def of_models(self) -> Floats:
        """`[points]`, the averages."""
        return _averaged(self.own, self.freedom)

    @cached_property
    def root(self) -> Floats:
        """A root of the covariance of the values; of the closest one, since estimates of its parts may clash."""
        variances, directions = np.linalg.eigh(self.of_items + np.diag(self.of_models))
        return np.asarray(directions * np.sqrt(np.maximum(variances, 0.0)))

    @property
    def covariance(self) -> Floats:
        """Of the values, `[points, points]`."""
        return self.root @ self.root.T

    def differences(self, values: Floats, of_models: Floats, windows: Floats, b: Places, a: Places) -> Floats:
        """z(b, a), `[..., draws]`, of windows `[...]`; of values and variances from trainings, `[draws, points]`."""
        means, own = (values @ windows.T).T, (of_models @ (windows**2).T).T
        items = windows @ self.of_items @ windows.T
        of_items = items[b, b] + items[a, a] - 2 * items[b, a]
        of_trainings = own[b] + own[a]
        # What items add is estimated, and may fall below zero.
        variances = np.maximum(of_trainings + of_items[..., None], of_trainings / 2)
        return np.asarray((means[b] - means[a]) / np.sqrt(np.maximum(variances, TINY)))

    def drawn(self, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Errors of the values, and the variances from trainings as they would be estimated: `[DRAWS, points]` each."""
        size = (DRAWS, len(self.own))
        own = self.of_models * generator.chisquare(self.freedom, size) / self.freedom
        return generator.normal(size=size) @ self.root.T, _averaged(own, self.freedom)


def _noise_of(estimates: Sequence[Estimate], pairs: Pairs | None) -> _Noise | None:
    """None if some estimates know nothing about other trainings, or nothing varies."""
    if pairs is None and not all(estimate.by_model for estimate in estimates):
        return None
    found = [variances_of(estimate) for estimate in estimates]
    own, freedom = np.array([sum_of(of.models) for of in found]).T
    shared = np.array([of.shared[0] for of in found])
    if pairs is not None:
        freedom = np.array(pairs.sizes) - 1.0
        counted, own = own, pairs.variances()
        # It counts the effects of pairs as often as `counted` does.
        shared *= _averaged(own, freedom) / np.maximum(_averaged(counted, freedom), TINY)
    of_items = np.cov(np.stack([estimate.by_item for estimate in estimates])) / len(estimates[0].by_item)
    shared = np.minimum(shared, of_items.diagonal())
    noise = _Noise(of_items - np.diag(shared), own, np.where(own > 0, freedom, 1))  # no variance has no freedom
    return noise if noise.covariance.diagonal().all() else None


def _averaged(own: Floats, freedom: Floats) -> Floats:
    """Variances from trainings, `[..., points]`, averaged over neighbours; unbiased if all are equal."""
    points = np.arange(len(freedom))
    weights = freedom * np.exp(-(((points[:, None] - points) / BANDWIDTH) ** 2) / 2)
    expected = (2 / freedom) ** (1 / 3) * special.poch(freedom / 2, 1 / 3)  # of the root, for variance 1
    return np.asarray((np.cbrt(own) / expected @ (weights / weights.sum(axis=1, keepdims=True)).T) ** 3)


def _windows(points: int) -> Floats:
    """The weights of all windows, `[windows, points]`."""
    sizes = [size for size in SIZES if 3 * size <= points]
    return np.concatenate([sliding_window_view(np.eye(points), size, axis=0).mean(axis=-1) for size in sizes])


def _largest_rises(noise: _Noise, values: Floats, of_models: Floats, windows: Floats) -> Floats:
    """The statistic `[draws]` of values and their variances from trainings, `[draws, points]`."""
    first, last = (windows > 0).argmax(axis=1), windows.shape[1] - 1 - (windows[:, ::-1] > 0).argmax(axis=1)
    late, early = np.nonzero(last < first[:, None])
    rises, order = noise.differences(values, of_models, windows, late, early), np.argsort(early, kind="stable")
    starts, ends = (np.flatnonzero(np.diff(some, prepend=-1)) for some in (late, early[order]))
    before, after = np.maximum.reduceat(rises, starts), np.maximum.reduceat(-rises[order], ends)
    _, one, other = np.intersect1d(late[starts], early[order][ends], return_indices=True)
    return np.asarray(np.minimum(before[one], after[other]).max(axis=0))


def _without_peak(values: Floats, covariance: Floats) -> Floats:
    """The closest curve that falls, then rises, with steps within the noise levelled."""
    weights, fits = 1 / np.diag(covariance), []
    for fall in range(1, len(values)):
        falling = optimize.isotonic_regression(values[:fall], weights=weights[:fall], increasing=False)
        rising = optimize.isotonic_regression(values[fall:], weights=weights[fall:])
        fits.append(np.concatenate([falling.x, rising.x]))
    fit = min(fits, key=lambda curve: float((weights * (curve - values) ** 2).sum()))
    starts = [0, *(np.flatnonzero(np.diff(fit)) + 1).tolist()]
    while len(starts) > 1:
        # Each row averages one level.
        level = np.searchsorted(starts, np.arange(len(fit)), side="right")
        average = (level == np.arange(1, len(starts) + 1)[:, None]) * weights
        steps = np.diff(average / average.sum(axis=1, keepdims=True), axis=0)
        variances = np.einsum("ij,jk,ik->i", steps, covariance, steps)
        sizes = np.abs(steps @ fit) / np.sqrt(np.maximum(variances, TINY))
        if sizes.min() > WITHIN_NOISE:
            break
        del starts[int(sizes.argmin()) + 1]
    of_levels = [slice(*ends) for ends in zip(starts, [*starts[1:], len(fit)], strict=True)]
    return np.concatenate([np.full_like(fit[of], np.average(fit[of], weights=weights[of])) for of in of_levels])
