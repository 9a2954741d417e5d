"""What every table of scores is made from; the columns of a score and its interval."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from dbviz_ray.config import ModelConfig

from ..scores.group_scores import Observed
from ..scores.groups import Group
from ..scores.plane_scores import PlaneScores
from ..scores.regions import Regions
from ..scores.trained import Trained
from ..statistics.estimates import Estimate
from ..statistics.intervals import Interval

Result = TypeVar("Result")

NAN = float("nan")
ABOUT_TRAININGS = ("models and planes", "models and images", "models")
"""What `covers_text` says of intervals that allow a verdict about other trainings."""
SIGNIFICANT = 0.05
"""p-values below it are beyond chance."""
ON_PLANES = ("reproducibility", "kappa", "soft_agreement", *Regions._fields)
"""The scores of planes; all others are of images."""


@dataclass(frozen=True)
class Scored:
    """Models at one of their kept epochs, scored on one plane set; they have the same places in all arrays."""

    models: Sequence[Trained]
    epochs: Sequence[int]
    groups: Sequence[Group]
    compared: Sequence[Group]
    """The groups that are compared with one another: at the last epoch, each at its best learning rate."""
    observed: Observed
    planes: PlaneScores
    estimates: Mapping[Group, Mapping[str, Estimate]]
    """The estimates of each group, by score."""
    of_images: dict[Hashable, Any]
    """What `once` has computed of images' scores, for all plane sets."""

    @property
    def configs(self) -> list[ModelConfig]:
        """The configurations of the models."""
        return [model.config for model in self.models]

    def once(self, score: str, key: Hashable, compute: Callable[..., Result], *arguments: Any) -> Result:
        """`compute(*arguments)`; of a score of images, what this gave for the same key in the first plane set."""
        if score in ON_PLANES:
            return compute(*arguments)
        if key not in self.of_images:
            self.of_images[key] = compute(*arguments)
        return self.of_images[key]  # type: ignore[no-any-return]


def columns_of(*scores: str, covers: bool = False) -> list[str]:
    """The names of the columns that `value_and_ends`, or `with_covers`, gives each score."""
    ends_of_names = ("", "_low", "_high", *["_interval_covers"] * covers)
    return [f"{score}{end}" for score in scores for end in ends_of_names]


def value_and_ends(score: str, interval: Interval | None) -> dict[str, float]:
    """The columns of a score and its interval; NaN for a score that is not known."""
    value, low, high = (interval.value, interval.low, interval.high) if interval else (NAN, NAN, NAN)
    return {score: value, f"{score}_low": low, f"{score}_high": high}


def with_covers(score: str, interval: Interval | None) -> dict[str, Any]:
    """The columns of a score, its interval, and what the interval is about."""
    return {**value_and_ends(score, interval), f"{score}_interval_covers": covers_text(interval)}


def covers_text(interval: Interval | None, score: str = "reproducibility") -> str:
    """What the interval of a score is about."""
    return interval.covers.replace("items", items_of(score)) if interval else "nothing"


def items_of(score: str) -> str:
    """What a score is a mean over, beside trainings."""
    return "planes" if score in ON_PLANES else "images"
