"""The command that compares models: from its options to numbers, pictures and one HTML report."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from dbviz_ray.errors import DamagedFileError, UserError
from dbviz_ray.evaluation.pictures import affordable_resolution, take_picture
from dbviz_ray.evaluation.run_models import RunModel
from dbviz_ray.planes import PlaneSet
from dbviz_ray.store import Store
from dbviz_ray.terminal import interruption
from dbviz_ray.terminal.progress import Amount, Progress
from dbviz_ray.training.allocations import keep_freed_memory

from ..report.folders import check_free, written
from .comparison import Comparison, check_classes, comparison_of, device_called, plane_options, planes_through
from .figures import representative_planes
from .files import FILES, KIND, RESULT, TEXT, UNFINISHED, Inputs, write_numbers, write_pictures
from .images import GivenImages, find_images
from .labelling import Labeller, Labels
from .models import ModelSource, find_models

if TYPE_CHECKING:
    from dbviz_ray.score import Request

PLANES_SHOWN = 3
PICTURES_SHARE = 10
"""Pictures take at most one point for so many that are scored."""
MOST_PICTURE_RESOLUTION = 2000
HELD_BYTES = 2 * 10**9
"""Models that together take more memory are loaded again for each round of planes."""


def score(request: Request, command: str) -> None:
    """Compare the models, print the result, and write the files; `command` is for the report.

    UserError about a field of `request` or a file; KeyboardInterrupt with a note that says what was kept.
    """
    keep_freed_memory()
    store = Store(request.out)
    check_free(store, FILES, RESULT, KIND)
    device = device_called(request.device)
    fields = ("planes", "resolution", "margin", "classes", "seed")
    config = plane_options(**{field: getattr(request, field) for field in fields})
    if request.picture_resolution is not None and not 2 <= request.picture_resolution <= MOST_PICTURE_RESOLUTION:
        allowed = f"2 to {MOST_PICTURE_RESOLUTION:,}"
        raise UserError("picture_resolution", request.picture_resolution, allowed=allowed)
    sources = find_models(request)
    data = find_images(request, [source.built_by for source in sources if isinstance(source.built_by, RunModel)])
    config, planes = planes_through(data.images, data.labels, config, len(sources))
    networks = _networks(sources, data, device)
    inputs = Inputs(command, asdict(request), data.called, data.facts, [source.facts() for source in sources])
    key = _key(inputs, data.images, planes)
    labels: Labels | None = None

    def comparison(of: Labels) -> Comparison:
        return comparison_of(of, data.labels, planes, config, data.class_names, data.remarks)

    try:
        with _progress("label", sources, len(data.images) + len(planes) * planes.resolution**2) as advance:
            labeller = Labeller(networks, data.images, planes, device, request.batch_points, advance)
            begun = labeller.begin()
            check_classes(begun, data.labels, data.class_names)
            labels = _stored_labels(store, key, begun) or begun
            while labels.planes < len(planes):
                labels = labeller.extended(labels)
    except KeyboardInterrupt as stop:
        if labels is not None and labels.planes > 1:
            write_numbers(store, comparison(labels), inputs)
            content = io.BytesIO()
            np.savez(content, key=key, predicted=labels.predicted, maps=labels.maps)
            written(store, {UNFINISHED: content.getvalue()})
            kept = f"the first {labels.planes:,} of {len(planes):,} planes are scored in {request.out}"
            stop.add_note(f"{kept}; the same command continues")
        raise
    found = comparison(labels)
    names = write_numbers(store, found, inputs)
    print(store.read(TEXT).decode(), end="", flush=True)
    try:
        picture = None if request.no_pictures else _regions(found, labeller, labels, sources, request)
        names += write_pictures(store, found, inputs, picture)
    except KeyboardInterrupt as stop:
        stop.add_note(f"all numbers are in {request.out}; the pictures are missing")
        raise
    print(f"\nin {request.out}: {', '.join(names)}")


def _networks(
    sources: Sequence[ModelSource], data: GivenImages, device: torch.device
) -> Callable[[], Iterator[tuple[str, nn.Module]]]:
    """The names and the networks; those that fit into memory together are loaded once, others again at each call.

    All are loaded before anything is labelled, so that weights that do not fit are found at once.
    """

    def loaded() -> Iterator[tuple[str, nn.Module]]:
        for source in sources:
            interruption.check()
            network = source.network(data).to(device)
            yield source.name, network.to(memory_format=torch.channels_last)  # a third faster on small ResNets

    held: list[tuple[str, nn.Module]] = []
    size = 0
    for name, network in loaded():
        size += sum(tensor.nbytes for tensor in network.parameters())
        held = [] if size > HELD_BYTES else [*held, (name, network)]
    return loaded if size > HELD_BYTES else lambda: iter(held)


def _regions(
    comparison: Comparison, labeller: Labeller, labels: Labels, sources: Sequence[ModelSource], request: Request
) -> Figure:
    """Decision regions on a grid that is as fine as asked for, or as a share of the points scored allows."""
    shown = representative_planes(comparison.same_points, PLANES_SHOWN)
    count, side = comparison.shape
    resolution = request.picture_resolution or affordable_resolution(count * side**2 / (PICTURES_SHARE * len(shown)))
    if resolution <= side:
        return comparison.figure(shown)
    maps = []
    with _progress("draw", sources, len(shown), "planes") as advance:
        for name, network in labeller.networks():
            read, of_model = labels.read(name, network), []
            for plane in shown:
                at = plane, resolution, labeller.device
                of_model.append(take_picture(read, comparison.planes, *at, batch_points=request.batch_points).labels)
                advance(name, len(of_model))
            maps.append(of_model)
    return comparison.figure(shown, np.array(maps))


@contextmanager
def _progress(
    stage: str, sources: Sequence[ModelSource], amount: int, unit: str = "points"
) -> Iterator[Callable[[str, int], None]]:
    """A callback that shows how much of a model is done; all models are taken to cost the same."""
    with Progress(stage, {source.name: Amount(amount, 1.0) for source in sources}, unit) as progress:

        def advance(name: str, done: int) -> None:
            interruption.check()
            progress.reach(name, done)

        yield advance


def _key(inputs: Inputs, images: Tensor, planes: PlaneSet) -> str:
    """A hash of all that labels depend on: the models, the images and the planes."""
    hashed = hashlib.sha256(json.dumps([dict(facts) for facts in inputs.checkpoints], default=str).encode())
    hashed.update(repr((planes.resolution, planes.margin)).encode())
    for part in (images, planes.anchor_indices):
        hashed.update(part.contiguous().numpy().data)
    return hashed.hexdigest()


def _stored_labels(store: Store, key: str, begun: Labels) -> Labels | None:
    """The labels of an interrupted comparison with this key, if its models predicted the same on the images.

    A function that builds or loads a network may have changed without the key.
    """
    with suppress(FileNotFoundError, DamagedFileError, ValueError, KeyError, OSError):
        content: dict[str, Any] = dict(np.load(io.BytesIO(store.read(UNFINISHED)), allow_pickle=False))
        if content["key"].item() == key and np.array_equal(content["predicted"], begun.predicted):
            return replace(begun, maps=content["maps"])
    return None
