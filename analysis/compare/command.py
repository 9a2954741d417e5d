"""From a command line to a comparison and its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from dbviz_ray.config import DatasetConfig, ResourcesConfig
from dbviz_ray.datasets import load_dataset
from dbviz_ray.errors import UserError
from dbviz_ray.evaluation.label_maps import label_maps
from dbviz_ray.evaluation.pictures import PICTURE_RESOLUTION
from dbviz_ray.evaluation.run_models import RunModel
from dbviz_ray.planes import PlaneSet
from dbviz_ray.store import Store
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Amount, Progress

from .comparison import compared, device_called, images_and_labels, plane_options, planes_through
from .figures import representative_planes
from .files import Inputs, check_free, write_comparison
from .images import GivenImages, Scale, find_images, images_of_dataset
from .models import ModelSource, find_models
from .sentences import text_report

if TYPE_CHECKING:
    from dbviz_ray.score import Request

PLANES_SHOWN = 3
"""Pictures have finer grids: 3 take 120,000 points, beside the 1,250,000 of 500 planes."""


def score(request: Request, command: str) -> str:
    """Compare the models, write the files, and return the text to print; `command` is for the report.

    Raises:
        UserError: about a field of `request`, or about a file.
    """
    store = Store(request.out)
    check_free(store)
    device = device_called(request.device)
    fields = ("planes", "resolution", "margin", "classes", "seed")
    config = plane_options(**{field: getattr(request, field) for field in fields})
    sources = find_models(
        request.checkpoints, request.models, request.widths, request.model_options, request.names,
        request.weights_key, request.trusted,
    )  # fmt: skip
    data = _images(request, sources)
    images, labels = images_and_labels(data.images, data.labels)
    planes = planes_through(images, labels, config, len(sources))
    for _ in _networks(sources, data, device):
        pass  # weights that do not fit are an error before anything is labelled
    with _progress("label", sources, planes) as advance:
        comparison = compared(
            _networks(sources, data, device), images, labels, planes, config, device,
            batch_points=request.batch_points, class_names=data.class_names, advance=advance,
        )  # fmt: skip
    shown = representative_planes(comparison.same_points, PLANES_SHOWN)
    finer = planes.part(shown, max(planes.resolution, PICTURE_RESOLUTION))
    picture = comparison.figure(shown, _finer_maps(request, sources, data, finer, device))
    inputs = Inputs(command, asdict(request), data.called, data.facts, [source.facts() for source in sources])
    written = write_comparison(store, comparison, picture, request.precision, request.seed, inputs)
    return f"{text_report(comparison, config.classes, request.precision)}\n\nin {request.out}: {', '.join(written)}"


def _networks(
    sources: Sequence[ModelSource], data: GivenImages, device: torch.device
) -> Iterator[tuple[str, nn.Module]]:
    """The names and the networks, loaded one at a time."""
    for source in sources:
        interruption.check()
        yield source.name, source.network(data.image_shape, data.classes).to(device)


@contextmanager
def _progress(stage: str, sources: Sequence[ModelSource], planes: PlaneSet) -> Iterator[Callable[[str, int], None]]:
    """A callback that shows how many points of a model are done; all models are taken to cost the same."""
    points = len(planes) * planes.resolution**2
    with Progress(stage, {source.name: Amount(points, 1.0) for source in sources}, "points") as progress:

        def advance(name: str, done: int) -> None:
            interruption.check()
            progress.reach(name, done)

        yield advance


def _finer_maps(
    request: Request, sources: Sequence[ModelSource], data: GivenImages, planes: PlaneSet, device: torch.device
) -> NDArray[np.uint8]:
    """Label maps for pictures, `[models, planes, rows, columns]`."""
    maps = []
    with _progress("draw", sources, planes) as advance:
        for name, network in _networks(sources, data, device):
            maps.append(label_maps(network, planes, device, batch_points=request.batch_points).numpy())
            advance(name, len(planes) * planes.resolution**2)
    return np.stack(maps)


def _images(request: Request, sources: Sequence[ModelSource]) -> GivenImages:
    """The images asked for; by default those of the sweep that trained the models."""
    scale = Scale(request.mean, request.deviation)
    runs = [source.built_by for source in sources if isinstance(source.built_by, RunModel)]
    if request.data is not None:
        directory = request.data_directory or ResourcesConfig().data_directory
        return find_images(request.data, request.data_options, request.split, scale, directory)
    if not runs:
        allowed = "a data set, a .npz file, or package.module:function"
        raise UserError("data", reason="required for weight files", allowed=allowed)
    if request.data_options:
        raise UserError("data_options", reason="not allowed without --data")
    first = runs[0].config
    for run in runs:
        if run.config.dataset != first.dataset:
            trained = [f"{model.model_id} was trained on {_described(model.dataset)}" for model in (first, run.config)]
            raise UserError("data", reason=f"required, since {' and '.join(trained)}")
    dataset = load_dataset(first.dataset, request.data_directory or runs[0].data_directory)
    return images_of_dataset(dataset, request.split or "test", scale, first.dataset.name)


def _described(dataset: DatasetConfig) -> Mapping[str, object] | str:
    return dataset.model_dump(exclude_defaults=True) or dataset.name
