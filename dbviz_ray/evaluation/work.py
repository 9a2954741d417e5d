"""The work of evaluators on trained models: label planes, find margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from dbviz_ray.config import MarginsConfig
from dbviz_ray.datasets import Dataset
from dbviz_ray.evaluation.label_maps import Classifier, label_planes
from dbviz_ray.evaluation.margins import MarginLines, draw_margin_lines, margins
from dbviz_ray.evaluation.pictures import SHOWN_PLANE, picture_resolution, take_picture
from dbviz_ray.planes import PlaneSet
from dbviz_ray.store import Store, StoredMargins


class Work(Protocol):
    """A kind of task with its data; each evaluator gets it once."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the networks' input."""

    @property
    def points(self) -> int:
        """Upper limit of forward passes for one model."""

    def do(self, network: Classifier, device: torch.device, store: Store, model_id: str, epoch: int) -> None:
        """Write the predictions of `network`, the model after `epoch`."""


@dataclass(frozen=True)
class LabellingWork:
    """Label every grid point of a plane set, and one plane on a finer grid."""

    plane_set: str
    planes: PlaneSet
    probabilities: bool

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.planes.image_shape

    @property
    def points(self) -> int:
        """Grid points, including the picture's."""
        return len(self.planes) * self.planes.resolution**2 + (picture_resolution(self.planes) or 0) ** 2

    def do(self, network: Classifier, device: torch.device, store: Store, model_id: str, epoch: int) -> None:
        """Write the probabilities if asked for, the picture if it is finer, and the label maps last."""
        labelled = label_planes(network, self.planes, device, probabilities=self.probabilities)
        if labelled.probabilities is not None:
            store.write_probabilities(self.plane_set, model_id, epoch, labelled.probabilities.numpy())
        resolution = picture_resolution(self.planes)
        if resolution is not None:
            picture = take_picture(network, self.planes, SHOWN_PLANE, resolution, device, confidence=self.probabilities)
            store.write_picture(self.plane_set, model_id, epoch, SHOWN_PLANE, picture)
        store.write_label_maps(self.plane_set, model_id, epoch, labelled.labels.numpy())


@dataclass(frozen=True)
class MarginsWork:
    """Find the margins of images along lines."""

    config: MarginsConfig
    lines: MarginLines

    @classmethod
    def drawn(cls, config: MarginsConfig, dataset: Dataset) -> MarginsWork:
        """The work that `config` asks for."""
        return cls(config, draw_margin_lines(config, dataset))

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.lines.image_shape

    @property
    def points(self) -> int:
        """The images, and all points of scan and bisection on every line."""
        return len(self.lines.starts) + self.lines.partners.numel() * (self.lines.steps + self.lines.halvings)

    def do(self, network: Classifier, device: torch.device, store: Store, model_id: str, epoch: int) -> None:
        """Write the margins."""
        found = margins(network, self.lines, device)
        stored = StoredMargins(
            indices=self.lines.start_indices.numpy().astype(np.int32),
            predicted=found.predicted.numpy(),
            distances=found.distances.numpy(),
            reaches=(self.lines.lengths * self.lines.reach).float().numpy(),
            facts=self.config.model_dump(include={"split", "steps", "reach", "tolerance", "seed"}),
        )
        store.write_margins(model_id, epoch, stored)
