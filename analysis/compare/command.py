"""From checkpoints and images to a comparison and its files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dbviz_ray.config import ResourcesConfig
from dbviz_ray.config.validation import validated
from dbviz_ray.datasets import load_dataset
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation.label_maps import label_maps
from dbviz_ray.evaluation.pictures import PICTURE_RESOLUTION
from dbviz_ray.evaluation.run_models import RunModel
from dbviz_ray.planes import PlaneSet
from dbviz_ray.store import Store
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Amount, Progress

from .comparison import (
    Labelled,
    Planes,
    check_batch_points,
    compared,
    device_called,
    images_and_labels,
    labelled,
    planes_through,
)
from .figures import representative_planes
from .files import Origin, check_free, write_comparison
from .images import GivenImages, Scale, find_images, images_of_dataset
from .models import ModelSource, find_models
from .sentences import text_report

PLANES_SHOWN = 3
"""Pictures of 120,000 points together, beside the 1,250,000 of 500 planes."""


@dataclass(frozen=True)
class Request:
    """What a command line asks for; see `dbviz-ray score --help`."""

    checkpoints: tuple[str, ...]
    models: tuple[str, ...]
    widths: tuple[int, ...]
    model_options: Mapping[str, Any]
    names: tuple[str, ...]
    weights_key: str | None
    trusted: tuple[str, ...]
    data: str | None
    data_options: Mapping[str, Any]
    data_directory: str | None
    split: str | None
    mean: tuple[float, ...] | None
    deviation: tuple[float, ...] | None
    planes: int
    resolution: int
    margin: float
    classes: str
    seed: int
    precision: float
    device: str
    batch_points: int | None
    out: str


def score(request: Request, words: Sequence[str]) -> str:
    """Compare the models, write the files, and return what to print.

    Args:
        request: What is asked for.
        words: The command line, for the report.
    """
    store = Store(request.out)
    check_free(store)
    device = device_called(request.device, "--device")
    check_batch_points(request.batch_points, "--batch-points")
    fields = ("planes", "resolution", "margin", "classes", "seed")
    config = validated(Planes, {field: getattr(request, field) for field in fields})
    sources = find_models(
        request.checkpoints, request.models, request.widths, request.model_options, request.names,
        request.weights_key, request.trusted,
    )  # fmt: skip
    data = _images(request, sources)
    planes = planes_through(*images_and_labels(data.images, data.labels), config, len(sources))
    work = _Work(sources, data, planes, device, request.batch_points)
    work.check()
    comparison = compared(work.labelled(), data.labels, planes, config, data.class_names)
    shown = representative_planes(comparison.same_points, PLANES_SHOWN)
    origin = Origin(
        command=shlex.join(["dbviz-ray", "score", *words]),
        arguments=asdict(request),
        images=data.called,
        data=data.facts,
        checkpoints=[source.facts() for source in sources],
    )
    picture = comparison.figure(shown, work.maps_of(shown))
    written = write_comparison(store, comparison, picture, request.precision, request.seed, origin)
    return f"{text_report(comparison, config.classes, request.precision)}\n\nin {request.out}: {', '.join(written)}"


@dataclass(frozen=True)
class _Work:
    """The models, loaded one at a time."""

    sources: Sequence[ModelSource]
    data: GivenImages
    planes: PlaneSet
    device: torch.device
    batch_points: int | None

    def check(self) -> None:
        """UserError, before anything is labelled, for weights that are not those of their network."""
        for source in self.sources:
            interruption.check()
            source.network(self.data.image_shape, self.data.classes)

    def labelled(self) -> Iterator[Labelled]:
        """What each model predicts on the images and the planes."""
        points = self.planes.resolution**2
        with Progress("label", self._amounts(self.planes), "points") as progress:
            for source in self.sources:
                network = self._network(source)
                done = 0

                def advance(planes: int, name: str = source.name) -> None:
                    nonlocal done
                    interruption.check()
                    done += planes
                    progress.reach(name, done * points)

                yield labelled(
                    source.name, network, self.data.images, self.data.labels, self.planes, self.device,
                    batch_points=self.batch_points, advance=advance,
                )  # fmt: skip

    def maps_of(self, planes: Sequence[int]) -> NDArray[np.uint8]:
        """Label maps of some planes on a grid fine enough to look at, `[models, planes, rows, columns]`."""
        finer = self.planes.part(planes, max(self.planes.resolution, PICTURE_RESOLUTION))
        maps = []
        amounts = self._amounts(finer)
        with Progress("draw", amounts, "points") as progress:
            for source in self.sources:
                interruption.check()
                network = self._network(source)
                maps.append(label_maps(network, finer, self.device, batch_points=self.batch_points).numpy())
                progress.reach(source.name, amounts[source.name].units)
        return np.stack(maps)

    def _amounts(self, planes: PlaneSet) -> dict[str, Amount]:
        """The points of every model, which are taken to cost the same."""
        return {source.name: Amount(len(planes) * planes.resolution**2, 1.0) for source in self.sources}

    def _network(self, source: ModelSource) -> torch.nn.Module:
        return source.network(self.data.image_shape, self.data.classes).to(self.device)


def _images(request: Request, sources: Sequence[ModelSource]) -> GivenImages:
    """The images asked for; if none are, those of the sweep that trained the models."""
    scale = Scale(request.mean, request.deviation)
    runs = [source.origin for source in sources if isinstance(source.origin, RunModel)]
    if request.data is not None:
        directory = request.data_directory or ResourcesConfig().data_directory
        return find_images(request.data, request.data_options, request.split, scale, directory)
    if not runs:
        raise UserError("--data: missing; allowed: a data set, a .npz file, or package.module:function")
    if request.data_options:
        raise UserError("--data-option: not allowed without --data")
    first = runs[0].config.dataset
    for run in runs:
        if run.config.dataset != first:
            raise UserError(
                f"--data: missing, and the models' own data sets differ: {runs[0].config.model_id} was trained on "
                f"{first.model_dump(exclude_defaults=True) or first.name}, {run.config.model_id} on "
                f"{run.config.dataset.model_dump(exclude_defaults=True) or run.config.dataset.name}"
            )
    dataset = load_dataset(first, request.data_directory or runs[0].data_directory)
    return images_of_dataset(dataset, request.split or "test", scale, first.name)
