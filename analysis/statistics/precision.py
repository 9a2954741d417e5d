"""How many more models or items a 95 % interval of a wanted half-width needs.

The variance of a score is modelled as M / n_models + I / n_items + B / (n_models n_items), with the three parts
estimated from the present samples. The half-width ("reach") follows as in `intervals`, with the degrees of freedom of
the larger samples. With few models the parts are rough, and so is the advice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from .estimates import Estimate
from .intervals import Interval, Variances, interval_of, variances_of

MOST = 10_000_000
"""The search stops at this number of models or items."""


@dataclass(frozen=True)
class Advice:
    """The sample sizes that bring an interval's half-width to at most `wanted`; the present ones if it is so
    already."""

    interval: Interval
    reach: float
    """The present half-width, before the interval is cut at its bounds; NaN if unknown."""
    wanted: float
    items: int | None
    """Items needed with the present models; None if more items alone never suffice."""
    models: int | None
    """Models needed with the present items; None if more models alone never suffice, or nothing is known about them."""
    both: tuple[int, int] | None
    """(models, items) that suffice together, if neither suffices alone."""
    names: tuple[str, str] = ("seeds", "planes")
    """Names for models and items."""

    @property
    def is_useless(self) -> bool:
        """Whether the interval is that of a share and contains every share."""
        return (self.interval.low, self.interval.high) == (0, 1)

    def __str__(self) -> str:
        digits = max(3, 1 - math.floor(math.log10(self.wanted)))
        known = f"{self.interval} is known to ±{self.reach:.{digits}f}"
        if math.isnan(self.reach):
            return f"{self.interval.value:.3f}: nothing is known about its precision"
        if self.is_useless:
            known = f"{self.interval} could be anything"
        if self.interval.covers == "items":
            known += f" over {self.names[1]} alone (nothing is known about other {self.names[0]})"
        if self.reach <= self.wanted:
            return f"{known}, which is within the wanted ±{self.wanted:.3g}"
        return f"{known}; ±{self.wanted:.3g} needs {self._needed()}"

    def _needed(self) -> str:
        seeds, planes = self.names
        here = self.interval
        if self.both is not None:
            return (
                f"{_more(self.both[0], here.models, seeds)} and {_more(self.both[1], here.items, planes)}; "
                f"neither suffices alone"
            )
        needed, hopeless = [], []
        if self.models is not None:
            with_items = f" with {here.items} {planes}" if here.covers != "models" else ""
            needed.append(f"{_more(self.models, here.models, seeds)}{with_items}")
        elif here.covers != "items":
            hopeless.append(seeds)
        if self.items is not None:
            needed.append(f"{_more(self.items, here.items, planes)} with {_count(here.models, seeds)}")
        elif here.covers != "models":
            hopeless.append(planes)
        if not needed:
            return f"more {seeds} and {planes} than can be told"
        return " or ".join(needed) + (f"; {hopeless[0]} alone cannot reach it" if hopeless else "")


def advice(estimate: Estimate, wanted: float, names: tuple[str, str] = ("seeds", "planes")) -> Advice:
    """The models or items that bring the half-width of the 95 % interval to at most `wanted`.

    Models of several groups are added in proportion, and the number counts all of them. Models with crossed seeds are
    added in proportion to the seeds of every stream.
    """
    return advice_on(interval_of(estimate), variances_of(estimate), wanted, names)


def advice_on(
    interval: Interval, variances: Variances, wanted: float, names: tuple[str, str] = ("seeds", "planes")
) -> Advice:
    """`advice`, from an interval and the variances behind it."""
    if not wanted > 0:
        raise ValueError(f"wanted: the half-width must be positive, not {wanted}")
    with_items, with_models = interval.covers != "models", bool(variances.models)
    reach = variances.reach()
    models, items = interval.models, interval.items

    def reaches(more_models: float, more_items: float, within: float = wanted) -> bool:
        return _larger(variances, more_models / models, more_items / items).reach() <= within

    if math.isnan(reach) or reaches(models, items):
        known = not math.isnan(reach)
        return Advice(interval, reach, wanted, items if known else None, models if known else None, None, names)
    of_items = _smallest(items, lambda number: reaches(models, number)) if with_items else None
    of_models = _smallest(models, lambda number: reaches(number, items)) if with_models else None
    both = None
    if of_items is None and of_models is None and with_models and with_items:
        share = wanted / math.sqrt(2)
        fewest = _smallest(models, lambda number: reaches(number, MOST * items, share))
        enough = None if fewest is None else _smallest(items, lambda number: reaches(fewest, number))
        both = None if fewest is None or enough is None else (fewest, enough)
    return Advice(interval, reach, wanted, of_items, of_models, both, names)


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


def _smallest(present: int, suffices: Callable[[int], bool]) -> int | None:
    """The smallest sufficient number above `present`; None if it exceeds MOST."""
    low, high = present, present + 1
    while not suffices(high):
        if high >= MOST:
            return None
        low, high = high, min(2 * high, MOST)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _more(number: int, present: int, name: str) -> str:
    """`9 more seeds (13 in all)`."""
    more = number - present
    return f"{_count(more, 'more ' + name)} ({number} in all)" if more else f"no more {name}"


def _count(number: int, name: str) -> str:
    return f"{number} {name.removesuffix('s') if number == 1 else name}"
