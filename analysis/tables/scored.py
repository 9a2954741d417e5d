"""What every table of scores is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dbviz_ray.config import ModelConfig

from ..scores.group_scores import Observed
from ..scores.groups import Group
from ..scores.plane_scores import PlaneScores
from ..scores.trained import Trained
from ..statistics.estimates import Estimate


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

    @property
    def configs(self) -> list[ModelConfig]:
        """The configurations of the models."""
        return [model.config for model in self.models]
