"""95 % intervals, ratios and tests of estimates, for few models and many items, in closed form; advice on sample sizes.

Models and items both contribute to the variance of an estimate. With few models the usual formula (Student's t at
Satterthwaite's degrees of freedom of the sum) gives intervals that are too short, and the root of the squares of the
two samples' own t intervals (Graybill and Wang 1980) gives intervals that are too long. The half-width used here is the
mean of the two.

Near its smallest or largest value a share is skewed over trainings. Its interval is the exact one of as many yes-or-no
answers as would have that half-width, which is longer towards the middle (Korn and Graubard, Survey Methodology 24,
1998). tests/benchmarks/RESULTS.md has the measured coverage.
"""

import bisect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .estimates import Covers, Estimate, difference, logarithm
from .pseudo_values import LEVEL, Floats, Variances, student, variance_of_mean

ROUNDING = 1e-9
"""A standard error below this share of the value counts as zero."""
ABOUT_TRAININGS: tuple[Covers, ...] = ("models and items", "models")
"""What an estimate must cover for a verdict on further trainings."""
MOST = 10_000_000
"""The search for a sufficient number of models or items stops here."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval and sample sizes.

    `covers` tells which samples the interval accounts for: with one model, or one pair, nothing is known about other
    trainings, and the interval is about other items only. "models of one side": see `cross_pair_estimate`.
    """

    value: float
    low: float
    high: float
    models: int
    items: int
    covers: Covers

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def interval_of(estimate: Estimate, bounds: tuple[float, float] = (-math.inf, math.inf)) -> Interval:
    """The 95 % interval of an estimate between its smallest and largest possible value; NaN if nothing is known."""
    reach = variances_of(estimate).reach()
    low, high = map(float, ends(np.array(estimate.value), np.array(reach), bounds))
    return Interval(estimate.value, low, high, estimate.models, max(len(estimate.by_item), 1), estimate.covers)


def ends(values: Floats, reach: Floats, bounds: tuple[float, float]) -> tuple[Floats, Floats]:
    """The ends of intervals with these half-widths: between two finite bounds as of shares, else cut at the bounds."""
    width = bounds[1] - bounds[0]
    plain = np.clip(values - reach, *bounds), np.clip(values + reach, *bounds)
    if math.isinf(width):
        return plain
    share = (values - bounds[0]) / width
    with np.errstate(divide="ignore", invalid="ignore"):
        answers = share * (1 - share) * (special.ndtri((1 + LEVEL) / 2) * width / reach) ** 2
    known = np.isfinite(answers) & (answers > 0)
    exact = _exact_ends(np.where(known, share * answers, 0.0), np.where(known, answers, 1.0))
    low, high = (np.where(known, bounds[0] + width * end, cut) for end, cut in zip(exact, plain, strict=True))
    return low, high


@dataclass(frozen=True)
class Means:
    """Many means over the same items at once, as for the pairs of a thousand models."""

    values: Floats
    errors: Floats
    """Their standard errors."""
    items: int

    @classmethod
    def of(cls, values: Floats, items: int, rows: Iterable[tuple[Any, Any]]) -> Self:
        """The means `values` over items that come some at a time: the numbers of all means there, and how many do."""
        squares = np.zeros_like(values)
        for numbers, count in rows:
            squares += count * (numbers - values) ** 2
        return cls(values, np.sqrt(squares / (items - 1) / items), items)

    def intervals(self, bounds: tuple[float, float], models: int = 1) -> list[Interval]:
        """As `interval_of(mean_estimate(...))` gives for each."""
        found = ends(self.values, student(LEVEL, self.items - 1) * self.errors, bounds)
        each = zip(*(numbers.tolist() for numbers in (self.values, *found)), strict=True)
        return [Interval(value, low, high, models, self.items, "items") for value, low, high in each]

    def p_values(self) -> Floats:
        """As `p_value(mean_estimate(...))` gives for each."""
        values = np.abs(self.values)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.maximum(2 * special.stdtr(self.items - 1, -values / self.errors), 1e-15)
        found[self.errors <= ROUNDING * values] = _sign_test(self.items)
        found[values == 0] = 1.0
        return np.asarray(found)


def shares_of_images(counts: NDArray[Any], images: int | NDArray[Any], models: int = 1) -> list[Interval]:
    """Each of `counts` out of `images` with the exact interval of a share (Clopper and Pearson 1934), never empty."""
    found = np.broadcast_arrays(counts / images, *_exact_ends(counts, images), images)
    each = zip(*(of.tolist() for of in found), strict=True)
    return [Interval(share, low, high, models, items, "items") for share, low, high, items in each]


def changes_of_images(wins: NDArray[Any], losses: NDArray[Any], images: float) -> list[Interval]:
    """(wins - losses) / images of two models each; the intervals hold 0 unless the exact McNemar test rejects at 5 %.

    Of the share d of images that change, the share s are wins, so the change is d (2 s - 1). The exact interval of s
    inverts that test. Towards an end of the sign of the value, the reaches of log d and log(2 s - 1) add as squares
    (Zou and Donner, Statistics in Medicine 27, 2008); beyond 0, d matters little.
    """
    changed = wins + losses
    share, (fewest, most) = changed / images, _exact_ends(changed, images)
    balance = (wins - losses) / np.maximum(changed, 1)
    both = []
    for end in (2 * of_wins - 1 for of_wins in _exact_ends(wins, changed)):
        with np.errstate(divide="ignore", invalid="ignore"):
            nearer = np.abs(end) < np.abs(balance)
            reach = np.hypot(np.log(end / balance), np.log(np.where(nearer, fewest, most) / share))
            beside = balance * share * np.exp(np.where(nearer, -reach, reach))
        found = np.where(end * balance > 0, beside, end * np.where(changed > 0, share, most))
        both.append(found.clip(-1, 1).tolist())
    each = zip((balance * share).tolist(), *both, strict=True)
    return [Interval(value, low, high, 2, round(images), "items") for value, low, high in each]


def _exact_ends(counts: NDArray[Any], of: NDArray[Any] | float) -> tuple[Floats, Floats]:
    tail = (1 - LEVEL) / 2  # beta quantiles give the ends 400 times faster than a search does
    low = special.betaincinv(np.where(counts > 0, counts, 1), of - counts + 1, tail)
    high = special.betaincinv(counts + 1, np.where(counts < of, of - counts, 1), 1 - tail)
    return np.where(counts > 0, low, 0.0), np.where(counts < of, high, 1.0)


def ratio_interval(first: Estimate, second: Estimate) -> Interval:
    """`first` / `second` of different models on the same items, both positive: the interval of the log-ratio."""
    logarithms = interval_of(difference(logarithm(first), logarithm(second)))
    with np.errstate(over="ignore"):
        value, low, high = (float(np.exp(end)) for end in (logarithms.value, logarithms.low, logarithms.high))
    return Interval(value, low, high, logarithms.models, logarithms.items, logarithms.covers)


def p_value(estimate: Estimate) -> float:
    """Two-sided p-value of the hypothesis that the true value is zero: for a difference, a paired test.

    It is one minus the level at which the interval ends at zero. It is NaN if nothing is known about other trainings
    (of both sides of a difference): items alone say nothing about them. If all samples are equal, there is no variance,
    and it is that of the sign test, 2^(1 - n) for the n items (or else models); NaN for so few that they cannot tell.
    """
    variances, value = variances_of(estimate), abs(estimate.value)
    variance, _ = variances.total
    if estimate.covers not in ABOUT_TRAININGS or math.isnan(variance):
        return math.nan
    if value == 0:
        return 1.0
    if variance <= (ROUNDING * value) ** 2:
        return float(_sign_test(len(estimate.by_item) or max(map(len, estimate.by_model))))

    from scipy import optimize  # which takes long to import

    def beyond(log_p: float) -> float:
        return variances.reach(1 - math.exp(log_p)) - value

    least = math.log(1e-15)
    return 1e-15 if beyond(least) < 0 else math.exp(float(optimize.brentq(beyond, least, 0.0, xtol=1e-9)))


def holm(p_values: Floats) -> Floats:
    """p-values corrected for their number (Holm 1979); NaN stays NaN and does not count.

    Rejecting those below 5 % gives any false rejection in at most 5 % of all families of tests.
    """
    corrected = np.full(len(p_values), np.nan)
    order = np.argsort(p_values)[: np.isfinite(p_values).sum()]
    steps = np.maximum.accumulate(p_values[order] * (len(order) - np.arange(len(order))))
    corrected[order] = np.minimum(steps, 1.0)
    return corrected


def variances_of(estimate: Estimate) -> Variances:
    """The contributions of items and models to the variance of an estimate."""
    joint = [estimate.joint] if estimate.joint[1] else []
    of_models = (*map(variance_of_mean, estimate.by_model), *joint)
    return Variances(variance_of_mean(estimate.by_item), of_models, estimate.shared)


def _sign_test(samples: int) -> float:
    """The p-value of equal samples; NaN if even these cannot reach the level of the interval."""
    p_value = 2.0 ** (1 - samples)
    return p_value if p_value < 1 - LEVEL else math.nan


@dataclass(frozen=True)
class Advice:
    """The sample sizes that bring an interval's half-width to at most `wanted`, or the present ones if it is so."""

    interval: Interval
    reach: float
    """The present half-width; NaN if unknown."""
    wanted: float
    names: tuple[str, str]
    """Names for models and items, in the plural."""
    items: int | None = None
    """Items needed with the present models; None if more items alone never suffice."""
    models: int | None = None
    """Models needed with the present items; None if more models alone never suffice, or nothing is known about them."""
    both: tuple[int, int] | None = None
    """(models, items) that suffice together, if neither suffices alone."""

    @property
    def is_useless(self) -> bool:
        """Whether the interval is that of a share and contains nearly every share."""
        return 0 <= self.interval.low < 0.05 and 0.95 < self.interval.high <= 1

    def __str__(self) -> str:
        if math.isnan(self.reach):
            return f"{self.interval.value:.3f}: nothing is known about its precision"
        digits = max(3, 1 - math.floor(math.log10(self.wanted)))
        known = "could be anything" if self.is_useless else f"is known to ±{self.reach:.{digits}f}"
        if self.interval.covers == "items":
            known += f" over {self.names[1]} alone (nothing is known about other {self.names[0]})"
        if self.reach <= self.wanted:
            return f"{self.interval} {known}, which is within the wanted ±{self.wanted:.3g}"
        return f"{self.interval} {known}; ±{self.wanted:.3g} needs {self._needed()}"

    def _needed(self) -> str:
        here, (seeds, planes) = self.interval, self.names
        if self.both is not None:
            more_seeds, more_planes = _more(self.both[0], here.models, seeds), _more(self.both[1], here.items, planes)
            return f"{more_seeds} and {more_planes}; neither suffices alone"
        needed, with_items = [], f" with {here.items} {planes}" * (here.covers != "models")
        if self.models is not None:
            needed.append(f"{_more(self.models, here.models, seeds)}{with_items}")
        if self.items is not None:
            needed.append(f"{_more(self.items, here.items, planes)} with {_count(here.models, seeds)}")
        if not needed:
            return f"more {seeds} and {planes} than can be told"
        hopeless = seeds if self.models is None and here.covers != "items" else ""
        hopeless = planes if self.items is None and here.covers != "models" else hopeless
        return " or ".join(needed) + f"; {hopeless} alone cannot reach it" * bool(hopeless)


def advice_on(
    interval: Interval, variances: Variances, bounds: tuple[float, float], wanted: float, names: tuple[str, str]
) -> Advice:
    """The models or items that bring the half-width of a 95 % interval to at most `wanted`.

    The variance is modelled as M / n_models + I / n_items + B / (n_models n_items), with the three parts estimated from
    the present samples, and the degrees of freedom are those of the larger samples. With few models the parts are
    rough, and so is the advice. Models of several groups are added in proportion, and the number counts all of them;
    models with crossed seeds are added in proportion to the seeds of every stream.
    """
    if not wanted > 0:
        raise ValueError(f"wanted: the half-width must be positive, not {wanted}")
    with_items, with_models = interval.covers != "models", bool(variances.models)
    models, items = interval.models, interval.items

    def half_width(of: Variances) -> float:
        low, high = ends(np.array(interval.value), np.array(of.reach()), bounds)
        return float(high - low) / 2

    def reaches(more_models: float, more_items: float, within: float = wanted) -> bool:
        return half_width(_larger(variances, more_models / models, more_items / items)) <= within

    advice = Advice(interval, half_width(variances), wanted, names)
    if math.isnan(advice.reach):
        return advice
    if reaches(models, items):
        return replace(advice, items=items, models=models)
    of_items = smallest(items, lambda number: reaches(models, number)) if with_items else None
    of_models = smallest(models, lambda number: reaches(number, items)) if with_models else None
    both = None
    if of_items is None and of_models is None and with_models and with_items:
        fewest = smallest(models, lambda number: reaches(number, MOST * items, wanted / math.sqrt(2)))
        enough = fewest and smallest(items, lambda number: reaches(fewest, number))
        both = (fewest, enough) if fewest and enough else None
    return replace(advice, items=of_items, models=of_models, both=both)


def _larger(variances: Variances, models: float, items: float) -> Variances:
    """The variances expected with `models` and `items` times the present samples."""
    of_items, of_items_freedom = variances.items
    of_models = sum(part for part, _ in variances.models)
    # The shared part belongs to both; its estimate may exceed them by chance.
    together = min(variances.shared[0], of_models, of_items)
    shared = together / (models * items)
    of_either = (of_models - together) / models + shared
    return Variances(
        ((of_items - together) / items + shared, (of_items_freedom + 1) * items - 1 if of_items_freedom else 0.0),
        tuple(
            (part * of_either / of_models if of_models else 0.0, (freedom + 1) * models - 1)
            for part, freedom in variances.models
        ),
        (shared, variances.shared[1] * models * items),
    )


def smallest(present: int, suffices: Callable[[int], bool]) -> int | None:
    """The smallest sufficient number above `present`; None if it exceeds MOST."""
    if not suffices(MOST):
        return None
    return 1 + present + bisect.bisect_left(range(present + 1, MOST), True, key=suffices)


def _more(number: int, present: int, name: str) -> str:
    """`9 more seeds (13 in all)`."""
    more = number - present
    return f"{_count(more, 'more ' + name)} ({number} in all)" if more else f"no more {name}"


def _count(number: int, name: str) -> str:
    return f"{number} {name.removesuffix('s') if number == 1 else name}"
